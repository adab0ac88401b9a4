import * as Layer from "effect/Layer"
import * as Client from "@hawser/grpc/Client"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import type { ServiceHandlers } from "@hawser/testing/TestChannel"
import * as TestNetwork from "@hawser/testing/TestNetwork"

const codecs = {
  requestSerialize: (value: string) => Buffer.from(value),
  requestDeserialize: (bytes: Buffer) => bytes.toString(),
  responseSerialize: (value: string) => Buffer.from(value),
  responseDeserialize: (bytes: Buffer) => bytes.toString()
}

/** A method of each kind; messages are text. */
export const definition = {
  say: { path: "/test.Echo/Say", requestStream: false, responseStream: false, ...codecs },
  watch: { path: "/test.Echo/Watch", requestStream: false, responseStream: true, ...codecs },
  upload: { path: "/test.Echo/Upload", requestStream: true, responseStream: false, ...codecs },
  chat: { path: "/test.Echo/Chat", requestStream: true, responseStream: true, ...codecs }
} as const

export type EchoHandlers = ServiceHandlers<typeof definition>

export class Echo extends Client.Service<Echo>()("test/Echo", definition) {}

export const one = "10.0.0.1:50051"
export const two = "10.0.0.2:50051"

/** A client without retries and silence detection, over any network. */
export const clientOf = (options: Partial<GrpcOptions> = {}) =>
  Echo.layer.pipe(
    Layer.provideMerge(
      Grpc.layer({
        target: `ipv4:${one}`,
        credentials: Credentials.insecure,
        retry: false,
        silence: false,
        // Or else a test that fails would wait for it, on a clock that stands still.
        drain: 0,
        ...options
      })
    )
  )

/** That client, and servers with these handlers. */
export const echo = (
  handlers: EchoHandlers,
  network: Partial<TestNetwork.ServiceOptions> = {},
  options: Partial<GrpcOptions> = {}
) =>
  clientOf(options).pipe(
    Layer.provideMerge(TestNetwork.layerService(definition, handlers, { addresses: [one], ...network }))
  )
