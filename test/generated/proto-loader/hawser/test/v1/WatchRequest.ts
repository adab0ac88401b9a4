// Original file: echo.proto


export interface WatchRequest {
  'id'?: (string);
  'count'?: (number);
  'delayMillis'?: (number);
  'payload'?: (Buffer | Uint8Array | string);
  'failCode'?: (number);
}

export interface WatchRequest__Output {
  'id': (string);
  'count': (number);
  'delayMillis': (number);
  'payload': (Buffer);
  'failCode': (number);
}
