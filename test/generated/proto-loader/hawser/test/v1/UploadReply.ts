// Original file: echo.proto


export interface UploadReply {
  'messages'?: (number);
  'bytes'?: (number);
  'server'?: (string);
}

export interface UploadReply__Output {
  'messages': (number);
  'bytes': (number);
  'server': (string);
}
