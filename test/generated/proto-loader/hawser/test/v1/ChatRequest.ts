// Original file: echo.proto


export interface ChatRequest {
  'id'?: (string);
  'payload'?: (Buffer | Uint8Array | string);
}

export interface ChatRequest__Output {
  'id': (string);
  'payload': (Buffer);
}
