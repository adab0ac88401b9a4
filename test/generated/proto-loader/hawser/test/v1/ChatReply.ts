// Original file: echo.proto


export interface ChatReply {
  'id'?: (string);
  'payload'?: (Buffer | Uint8Array | string);
  'server'?: (string);
}

export interface ChatReply__Output {
  'id': (string);
  'payload': (Buffer);
  'server': (string);
}
