// Original file: echo.proto


export interface EchoRequest {
  'id'?: (string);
  'payload'?: (Buffer | Uint8Array | string);
  'delayMillis'?: (number);
  'failCode'?: (number);
}

export interface EchoRequest__Output {
  'id': (string);
  'payload': (Buffer);
  'delayMillis': (number);
  'failCode': (number);
}
