// Original file: echo.proto


export interface UploadRequest {
  'payload'?: (Buffer | Uint8Array | string);
}

export interface UploadRequest__Output {
  'payload': (Buffer);
}
