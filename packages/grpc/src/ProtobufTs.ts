/**
 * Clients from the services of protobuf-ts (`@protobuf-ts/plugin`).
 *
 * Structural types only: the generated code brings the runtime, this module imports nothing of it.
 */
import * as Generated from "./Generated.ts"

/** The codec of a message. */
export interface MessageType {
  toBinary(message: never): Uint8Array
  fromBinary(bytes: Uint8Array): unknown
}

/** A generated `ServiceType`, as far as it is read. */
export interface Service {
  readonly typeName: string
  readonly methods: ReadonlyArray<{
    readonly name: string
    readonly localName: string
    readonly idempotency: "NO_SIDE_EFFECTS" | "IDEMPOTENT" | undefined
    readonly serverStreaming: boolean
    readonly clientStreaming: boolean
    readonly I: MessageType
    readonly O: MessageType
  }>
}

interface Answer<O> {
  readonly response: Promise<O>
}
interface Answers<O> {
  readonly responses: AsyncIterable<O>
}
interface Requests<I> {
  readonly requests: { send(message: I): Promise<void> }
}

type Of<I, O, Req extends boolean, Res extends boolean> = Generated.MethodDefinition<I, I, O, O, Req, Res>

/** What a method of a generated client interface becomes; `never` for what is no such method. */
export type MethodDefinition<F> = F extends (...args: infer A) => infer Call
  ? Call extends Requests<infer I> & Answers<infer O>
    ? Of<I, O, true, true>
    : Call extends Requests<infer I> & Answer<infer O>
      ? Of<I, O, true, false>
      : Call extends Answers<infer O>
        ? Of<A[0], O, false, true>
        : Call extends Answer<infer O>
          ? Of<A[0], O, false, false>
          : never
  : never

/** What a service becomes, by its generated client interface. */
export type Definition<C> = {
  readonly [K in keyof C as MethodDefinition<C[K]> extends never ? never : K]: MethodDefinition<C[K]>
}

/**
 * The grpc-js definition of a service, for `Client.make`, `Client.Service` and `TestChannel.layerService`.
 *
 * **When to use**: with the client interface that is generated beside the service. The type of the service itself has
 * lost its messages and kinds; the interface has them, and is imported as a type only.
 *
 * **Details**: messages are sent whole: `HelloRequest.create({ name: "ada" })` fills in the rest. Idempotency is read
 * from the service. The result fits a grpc-js server, too.
 *
 * **Gotchas**: nothing can tell that interface and service belong together.
 *
 * **Example** (A client of a generated service)
 *
 * ```ts
 * import { Client } from "@hawser/grpc"
 * import * as ProtobufTs from "@hawser/grpc/ProtobufTs"
 * import type { IGreeterClient } from "./gen/greeter.client.ts"
 * import * as pb from "./gen/greeter.ts"
 *
 * const service = ProtobufTs.definition<IGreeterClient>()(pb.Greeter)
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", service) {}
 *
 * const text = Greeter.use((greeter) => greeter.sayHello({ name: "ada" }))
 * ```
 *
 * **Example** (A definition by hand)
 *
 * ```ts import.meta.vitest
 * import { Method } from "@hawser/grpc"
 * import * as ProtobufTs from "@hawser/grpc/ProtobufTs"
 *
 * interface IGreeterClient {
 *   watch(name: string): { readonly responses: AsyncIterable<string> }
 * }
 * const Text = {
 *   toBinary: (text: string) => new TextEncoder().encode(text),
 *   fromBinary: (bytes: Uint8Array) => new TextDecoder().decode(bytes)
 * }
 * const kind = { clientStreaming: false, serverStreaming: true, idempotency: "NO_SIDE_EFFECTS" } as const
 * const Greeter = ProtobufTs.definition<IGreeterClient>()({
 *   typeName: "demo.Greeter",
 *   methods: [{ name: "Watch", localName: "watch", I: Text, O: Text, ...kind }]
 * })
 *
 * const method = Method.fromDefinition(Greeter.watch)
 * method.kind satisfies "serverStreaming" // => "serverStreaming"
 * method.idempotency // => "NoSideEffects"
 * method.decode(method.encode("ada")) // => "ada"
 * ```
 */
export const definition =
  <C>() =>
  (service: Service): Definition<C> =>
    Object.fromEntries(service.methods.map((method) => [method.localName, ofMethod(service, method)])) as Definition<C>

const ofMethod = (
  service: Service,
  method: Service["methods"][number]
): Generated.MethodDefinition<never, unknown, never, unknown> => {
  const { clientStreaming, I, idempotency, name, O, serverStreaming } = method
  return {
    path: `/${service.typeName}/${name}`,
    requestStream: clientStreaming,
    responseStream: serverStreaming,
    requestSerialize: Generated.serialize((value: never) => I.toBinary(value)),
    requestDeserialize: Generated.deserialize((bytes) => I.fromBinary(bytes)),
    responseSerialize: Generated.serialize((value: never) => O.toBinary(value)),
    responseDeserialize: Generated.deserialize((bytes) => O.fromBinary(bytes)),
    options: Generated.options(idempotency)
  }
}
