// Original file: echo.proto


export interface PutReply {
  'id'?: (string);
  'server'?: (string);
}

export interface PutReply__Output {
  'id': (string);
  'server': (string);
}
