/** The services of the cases, read from the proto file when they are needed, with the types that proto-loader loses. */
import { loadSync } from "@grpc/proto-loader"
import type { Method } from "@hawser/grpc"
import { fileURLToPath } from "node:url"

export interface Empty {}

export interface Payload {
  readonly body: Buffer
}

export interface EchoStatus {
  readonly code: number
  readonly message: string
}

export interface SimpleRequest {
  readonly responseSize?: number
  readonly payload?: Payload
  readonly responseStatus?: EchoStatus
}

export interface OutputRequest {
  readonly responseParameters?: ReadonlyArray<{ readonly size: number }>
  readonly payload?: Payload
  readonly responseStatus?: EchoStatus
}

/** Of `SimpleResponse` and `StreamingOutputCallResponse`, which are alike. */
export interface WithPayload {
  readonly payload: Payload | null
}

export interface InputResponse {
  readonly aggregatedPayloadSize: number
}

export interface TestDefinition {
  readonly EmptyCall: Method.Definition<Empty, Empty, false, false>
  readonly UnaryCall: Method.Definition<SimpleRequest, WithPayload, false, false>
  readonly StreamingOutputCall: Method.Definition<OutputRequest, WithPayload, false, true>
  readonly StreamingInputCall: Method.Definition<WithPayload, InputResponse, true, false>
  readonly FullDuplexCall: Method.Definition<OutputRequest, WithPayload, true, true>
  readonly UnimplementedCall: Method.Definition<Empty, Empty, false, false>
}

export interface UnimplementedDefinition {
  readonly UnimplementedCall: Method.Definition<Empty, Empty, false, false>
}

const loaded = loadSync(fileURLToPath(new URL("./proto/testing.proto", import.meta.url)), { defaults: true })

export const TestService = loaded["grpc.testing.TestService"] as unknown as TestDefinition

export const UnimplementedService = loaded["grpc.testing.UnimplementedService"] as unknown as UnimplementedDefinition
