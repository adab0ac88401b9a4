// Original file: echo.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { ChatReply as _hawser_test_v1_ChatReply, ChatReply__Output as _hawser_test_v1_ChatReply__Output } from '../../../hawser/test/v1/ChatReply.ts';
import type { ChatRequest as _hawser_test_v1_ChatRequest, ChatRequest__Output as _hawser_test_v1_ChatRequest__Output } from '../../../hawser/test/v1/ChatRequest.ts';
import type { EchoReply as _hawser_test_v1_EchoReply, EchoReply__Output as _hawser_test_v1_EchoReply__Output } from '../../../hawser/test/v1/EchoReply.ts';
import type { EchoRequest as _hawser_test_v1_EchoRequest, EchoRequest__Output as _hawser_test_v1_EchoRequest__Output } from '../../../hawser/test/v1/EchoRequest.ts';
import type { PutReply as _hawser_test_v1_PutReply, PutReply__Output as _hawser_test_v1_PutReply__Output } from '../../../hawser/test/v1/PutReply.ts';
import type { PutRequest as _hawser_test_v1_PutRequest, PutRequest__Output as _hawser_test_v1_PutRequest__Output } from '../../../hawser/test/v1/PutRequest.ts';
import type { UploadReply as _hawser_test_v1_UploadReply, UploadReply__Output as _hawser_test_v1_UploadReply__Output } from '../../../hawser/test/v1/UploadReply.ts';
import type { UploadRequest as _hawser_test_v1_UploadRequest, UploadRequest__Output as _hawser_test_v1_UploadRequest__Output } from '../../../hawser/test/v1/UploadRequest.ts';
import type { WatchReply as _hawser_test_v1_WatchReply, WatchReply__Output as _hawser_test_v1_WatchReply__Output } from '../../../hawser/test/v1/WatchReply.ts';
import type { WatchRequest as _hawser_test_v1_WatchRequest, WatchRequest__Output as _hawser_test_v1_WatchRequest__Output } from '../../../hawser/test/v1/WatchRequest.ts';

export interface EchoClient extends grpc.Client {
  Chat(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_hawser_test_v1_ChatRequest, _hawser_test_v1_ChatReply__Output>;
  Chat(options?: grpc.CallOptions): grpc.ClientDuplexStream<_hawser_test_v1_ChatRequest, _hawser_test_v1_ChatReply__Output>;
  chat(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_hawser_test_v1_ChatRequest, _hawser_test_v1_ChatReply__Output>;
  chat(options?: grpc.CallOptions): grpc.ClientDuplexStream<_hawser_test_v1_ChatRequest, _hawser_test_v1_ChatReply__Output>;
  
  Echo(argument: _hawser_test_v1_EchoRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_hawser_test_v1_EchoReply__Output>): grpc.ClientUnaryCall;
  Echo(argument: _hawser_test_v1_EchoRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_hawser_test_v1_EchoReply__Output>): grpc.ClientUnaryCall;
  Echo(argument: _hawser_test_v1_EchoRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_hawser_test_v1_EchoReply__Output>): grpc.ClientUnaryCall;
  Echo(argument: _hawser_test_v1_EchoRequest, callback: grpc.requestCallback<_hawser_test_v1_EchoReply__Output>): grpc.ClientUnaryCall;
  echo(argument: _hawser_test_v1_EchoRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_hawser_test_v1_EchoReply__Output>): grpc.ClientUnaryCall;
  echo(argument: _hawser_test_v1_EchoRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_hawser_test_v1_EchoReply__Output>): grpc.ClientUnaryCall;
  echo(argument: _hawser_test_v1_EchoRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_hawser_test_v1_EchoReply__Output>): grpc.ClientUnaryCall;
  echo(argument: _hawser_test_v1_EchoRequest, callback: grpc.requestCallback<_hawser_test_v1_EchoReply__Output>): grpc.ClientUnaryCall;
  
  Put(argument: _hawser_test_v1_PutRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_hawser_test_v1_PutReply__Output>): grpc.ClientUnaryCall;
  Put(argument: _hawser_test_v1_PutRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_hawser_test_v1_PutReply__Output>): grpc.ClientUnaryCall;
  Put(argument: _hawser_test_v1_PutRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_hawser_test_v1_PutReply__Output>): grpc.ClientUnaryCall;
  Put(argument: _hawser_test_v1_PutRequest, callback: grpc.requestCallback<_hawser_test_v1_PutReply__Output>): grpc.ClientUnaryCall;
  put(argument: _hawser_test_v1_PutRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_hawser_test_v1_PutReply__Output>): grpc.ClientUnaryCall;
  put(argument: _hawser_test_v1_PutRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_hawser_test_v1_PutReply__Output>): grpc.ClientUnaryCall;
  put(argument: _hawser_test_v1_PutRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_hawser_test_v1_PutReply__Output>): grpc.ClientUnaryCall;
  put(argument: _hawser_test_v1_PutRequest, callback: grpc.requestCallback<_hawser_test_v1_PutReply__Output>): grpc.ClientUnaryCall;
  
  Upload(metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_hawser_test_v1_UploadReply__Output>): grpc.ClientWritableStream<_hawser_test_v1_UploadRequest>;
  Upload(metadata: grpc.Metadata, callback: grpc.requestCallback<_hawser_test_v1_UploadReply__Output>): grpc.ClientWritableStream<_hawser_test_v1_UploadRequest>;
  Upload(options: grpc.CallOptions, callback: grpc.requestCallback<_hawser_test_v1_UploadReply__Output>): grpc.ClientWritableStream<_hawser_test_v1_UploadRequest>;
  Upload(callback: grpc.requestCallback<_hawser_test_v1_UploadReply__Output>): grpc.ClientWritableStream<_hawser_test_v1_UploadRequest>;
  upload(metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_hawser_test_v1_UploadReply__Output>): grpc.ClientWritableStream<_hawser_test_v1_UploadRequest>;
  upload(metadata: grpc.Metadata, callback: grpc.requestCallback<_hawser_test_v1_UploadReply__Output>): grpc.ClientWritableStream<_hawser_test_v1_UploadRequest>;
  upload(options: grpc.CallOptions, callback: grpc.requestCallback<_hawser_test_v1_UploadReply__Output>): grpc.ClientWritableStream<_hawser_test_v1_UploadRequest>;
  upload(callback: grpc.requestCallback<_hawser_test_v1_UploadReply__Output>): grpc.ClientWritableStream<_hawser_test_v1_UploadRequest>;
  
  Watch(argument: _hawser_test_v1_WatchRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_hawser_test_v1_WatchReply__Output>;
  Watch(argument: _hawser_test_v1_WatchRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_hawser_test_v1_WatchReply__Output>;
  watch(argument: _hawser_test_v1_WatchRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_hawser_test_v1_WatchReply__Output>;
  watch(argument: _hawser_test_v1_WatchRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_hawser_test_v1_WatchReply__Output>;
  
}

export interface EchoHandlers extends grpc.UntypedServiceImplementation {
  Chat: grpc.handleBidiStreamingCall<_hawser_test_v1_ChatRequest__Output, _hawser_test_v1_ChatReply>;
  
  Echo: grpc.handleUnaryCall<_hawser_test_v1_EchoRequest__Output, _hawser_test_v1_EchoReply>;
  
  Put: grpc.handleUnaryCall<_hawser_test_v1_PutRequest__Output, _hawser_test_v1_PutReply>;
  
  Upload: grpc.handleClientStreamingCall<_hawser_test_v1_UploadRequest__Output, _hawser_test_v1_UploadReply>;
  
  Watch: grpc.handleServerStreamingCall<_hawser_test_v1_WatchRequest__Output, _hawser_test_v1_WatchReply>;
  
}

export interface EchoDefinition extends grpc.ServiceDefinition {
  Chat: MethodDefinition<_hawser_test_v1_ChatRequest, _hawser_test_v1_ChatReply, _hawser_test_v1_ChatRequest__Output, _hawser_test_v1_ChatReply__Output>
  Echo: MethodDefinition<_hawser_test_v1_EchoRequest, _hawser_test_v1_EchoReply, _hawser_test_v1_EchoRequest__Output, _hawser_test_v1_EchoReply__Output>
  Put: MethodDefinition<_hawser_test_v1_PutRequest, _hawser_test_v1_PutReply, _hawser_test_v1_PutRequest__Output, _hawser_test_v1_PutReply__Output>
  Upload: MethodDefinition<_hawser_test_v1_UploadRequest, _hawser_test_v1_UploadReply, _hawser_test_v1_UploadRequest__Output, _hawser_test_v1_UploadReply__Output>
  Watch: MethodDefinition<_hawser_test_v1_WatchRequest, _hawser_test_v1_WatchReply, _hawser_test_v1_WatchRequest__Output, _hawser_test_v1_WatchReply__Output>
}
