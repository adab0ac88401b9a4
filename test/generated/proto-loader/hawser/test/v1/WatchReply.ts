// Original file: echo.proto


export interface WatchReply {
  'index'?: (number);
  'payload'?: (Buffer | Uint8Array | string);
  'server'?: (string);
}

export interface WatchReply__Output {
  'index': (number);
  'payload': (Buffer);
  'server': (string);
}
