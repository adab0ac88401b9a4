// Original file: echo.proto


export interface PutRequest {
  'id'?: (string);
  'delayMillis'?: (number);
  'failCode'?: (number);
}

export interface PutRequest__Output {
  'id': (string);
  'delayMillis': (number);
  'failCode': (number);
}
