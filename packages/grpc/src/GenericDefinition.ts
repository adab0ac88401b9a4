/**
 * Clients from generic definitions: ts-proto with `outputServices=generic-definitions`, as nice-grpc uses them.
 *
 * Structural types only, so that it depends on no generator.
 */
import * as Generated from "./Generated.ts"

/** The codec of a message, with what ts-proto adds unless it is told `outputPartialMethods=false`. */
export interface MessageType {
  encode(message: never): { finish(): Uint8Array }
  decode(bytes: Uint8Array): unknown
  fromPartial?(fields: never): unknown
}

/** One method, as it is generated. */
export interface Method {
  readonly name: string
  readonly requestType: MessageType
  readonly requestStream: boolean
  readonly responseType: MessageType
  readonly responseStream: boolean
  readonly options: { readonly idempotencyLevel?: string | undefined }
}

/** A service, as it is generated. */
export interface Service {
  readonly fullName: string
  readonly methods: { readonly [name: string]: Method }
}

type Message<T extends MessageType> = ReturnType<T["decode"]>

// With ts-proto's exact types, the parameter of `fromPartial` takes nothing unless it is inferred from the argument.
type Init<T extends MessageType> = T extends { fromPartial(fields: infer Fields): unknown }
  ? Message<T> extends Fields
    ? Fields
    : Message<T>
  : Parameters<T["encode"]>[0]

/** What a method becomes. */
export type MethodDefinition<M extends Method> = Generated.MethodDefinition<
  Init<M["requestType"]>,
  Message<M["requestType"]>,
  Init<M["responseType"]>,
  Message<M["responseType"]>,
  M["requestStream"],
  M["responseStream"]
>

/** What a service becomes: its methods under the names of the definition. */
export type Definition<S extends Service> = {
  readonly [K in keyof S["methods"]]: MethodDefinition<S["methods"][K]>
}

/**
 * The grpc-js definition of a generic one, for `Client.make`, `Client.Service` and `TestChannel.layerService`.
 *
 * **Details**: where messages have `fromPartial`, what is sent may leave fields out. Idempotency is read from
 * `options.idempotencyLevel`. The result fits a grpc-js server, too.
 *
 * **Gotchas**: leaving fields out takes `useExactTypes=false`, as nice-grpc does; with ts-proto's exact types, messages
 * are sent whole.
 *
 * **Example** (A definition by hand)
 *
 * ```ts import.meta.vitest
 * import { Method } from "@hawser/grpc"
 * import * as GenericDefinition from "@hawser/grpc/GenericDefinition"
 *
 * const Text = {
 *   encode: (text: string) => ({ finish: () => new TextEncoder().encode(text) }),
 *   decode: (bytes: Uint8Array) => new TextDecoder().decode(bytes)
 * }
 * const Greeter = GenericDefinition.definition({
 *   name: "Greeter",
 *   fullName: "demo.Greeter",
 *   methods: {
 *     sayHello: {
 *       name: "SayHello",
 *       requestType: Text,
 *       requestStream: false,
 *       responseType: Text,
 *       responseStream: false,
 *       options: { idempotencyLevel: "IDEMPOTENT" }
 *     }
 *   }
 * } as const)
 *
 * const method = Method.fromDefinition(Greeter.sayHello)
 * method.path // => "/demo.Greeter/SayHello"
 * method.idempotency // => "Idempotent"
 * method.decode(method.encode("ada")) // => "ada"
 * ```
 */
export const definition = <const S extends Service>(service: S): Definition<S> =>
  Object.fromEntries(
    Object.entries(service.methods).map(([name, method]) => [name, ofMethod(service, method)])
  ) as Definition<S>

const ofMethod = (service: Service, method: Method): MethodDefinition<Method> => ({
  path: `/${service.fullName}/${method.name}`,
  requestStream: method.requestStream,
  responseStream: method.responseStream,
  requestSerialize: encoder(method.requestType),
  requestDeserialize: (bytes) => method.requestType.decode(bytes),
  responseSerialize: encoder(method.responseType),
  responseDeserialize: (bytes) => method.responseType.decode(bytes),
  options: Generated.options(method.options.idempotencyLevel)
})

const encoder = (type: MessageType): ((value: never) => Buffer) =>
  Generated.serialize((value: never) =>
    type.encode((type.fromPartial === undefined ? value : type.fromPartial(value)) as never).finish()
  )
