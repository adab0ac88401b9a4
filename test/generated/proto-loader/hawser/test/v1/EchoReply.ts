// Original file: echo.proto


export interface EchoReply {
  'id'?: (string);
  'payload'?: (Buffer | Uint8Array | string);
  'server'?: (string);
}

export interface EchoReply__Output {
  'id': (string);
  'payload': (Buffer);
  'server': (string);
}
