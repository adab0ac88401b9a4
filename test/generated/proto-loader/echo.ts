import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { ChatReply as _hawser_test_v1_ChatReply, ChatReply__Output as _hawser_test_v1_ChatReply__Output } from './hawser/test/v1/ChatReply.ts';
import type { ChatRequest as _hawser_test_v1_ChatRequest, ChatRequest__Output as _hawser_test_v1_ChatRequest__Output } from './hawser/test/v1/ChatRequest.ts';
import type { EchoClient as _hawser_test_v1_EchoClient, EchoDefinition as _hawser_test_v1_EchoDefinition } from './hawser/test/v1/Echo.ts';
import type { EchoReply as _hawser_test_v1_EchoReply, EchoReply__Output as _hawser_test_v1_EchoReply__Output } from './hawser/test/v1/EchoReply.ts';
import type { EchoRequest as _hawser_test_v1_EchoRequest, EchoRequest__Output as _hawser_test_v1_EchoRequest__Output } from './hawser/test/v1/EchoRequest.ts';
import type { PutReply as _hawser_test_v1_PutReply, PutReply__Output as _hawser_test_v1_PutReply__Output } from './hawser/test/v1/PutReply.ts';
import type { PutRequest as _hawser_test_v1_PutRequest, PutRequest__Output as _hawser_test_v1_PutRequest__Output } from './hawser/test/v1/PutRequest.ts';
import type { UploadReply as _hawser_test_v1_UploadReply, UploadReply__Output as _hawser_test_v1_UploadReply__Output } from './hawser/test/v1/UploadReply.ts';
import type { UploadRequest as _hawser_test_v1_UploadRequest, UploadRequest__Output as _hawser_test_v1_UploadRequest__Output } from './hawser/test/v1/UploadRequest.ts';
import type { WatchReply as _hawser_test_v1_WatchReply, WatchReply__Output as _hawser_test_v1_WatchReply__Output } from './hawser/test/v1/WatchReply.ts';
import type { WatchRequest as _hawser_test_v1_WatchRequest, WatchRequest__Output as _hawser_test_v1_WatchRequest__Output } from './hawser/test/v1/WatchRequest.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  hawser: {
    test: {
      v1: {
        ChatReply: MessageTypeDefinition<_hawser_test_v1_ChatReply, _hawser_test_v1_ChatReply__Output>
        ChatRequest: MessageTypeDefinition<_hawser_test_v1_ChatRequest, _hawser_test_v1_ChatRequest__Output>
        Echo: SubtypeConstructor<typeof grpc.Client, _hawser_test_v1_EchoClient> & { service: _hawser_test_v1_EchoDefinition }
        EchoReply: MessageTypeDefinition<_hawser_test_v1_EchoReply, _hawser_test_v1_EchoReply__Output>
        EchoRequest: MessageTypeDefinition<_hawser_test_v1_EchoRequest, _hawser_test_v1_EchoRequest__Output>
        PutReply: MessageTypeDefinition<_hawser_test_v1_PutReply, _hawser_test_v1_PutReply__Output>
        PutRequest: MessageTypeDefinition<_hawser_test_v1_PutRequest, _hawser_test_v1_PutRequest__Output>
        UploadReply: MessageTypeDefinition<_hawser_test_v1_UploadReply, _hawser_test_v1_UploadReply__Output>
        UploadRequest: MessageTypeDefinition<_hawser_test_v1_UploadRequest, _hawser_test_v1_UploadRequest__Output>
        WatchReply: MessageTypeDefinition<_hawser_test_v1_WatchReply, _hawser_test_v1_WatchReply__Output>
        WatchRequest: MessageTypeDefinition<_hawser_test_v1_WatchRequest, _hawser_test_v1_WatchRequest__Output>
      }
    }
  }
}

