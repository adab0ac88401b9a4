/**
 * Clients from the services of Protobuf-ES (`protoc-gen-es`).
 *
 * A module of its own, and `@bufbuild/protobuf` an optional peer: who generates with something else loads neither.
 */
import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf"
import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import * as Generated from "./Generated.ts"

type RequestStream<K> = K extends "client_streaming" | "bidi_streaming" ? true : false
type ResponseStream<K> = K extends "server_streaming" | "bidi_streaming" ? true : false

/** What a method of a descriptor becomes. */
export type MethodDefinition<M extends Pick<DescMethod, "input" | "output" | "methodKind">> =
  Generated.MethodDefinition<
    MessageInitShape<M["input"]>,
    MessageShape<M["input"]>,
    MessageInitShape<M["output"]>,
    MessageShape<M["output"]>,
    RequestStream<M["methodKind"]>,
    ResponseStream<M["methodKind"]>
  >

/** What a service becomes: its methods under their local names. */
export type Definition<S extends DescService> = {
  readonly [K in keyof S["method"]]: MethodDefinition<S["method"][K]>
}

/**
 * The grpc-js definition of a service, for `Client.make`, `Client.Service` and `TestChannel.layerService`.
 *
 * **Details**: what is sent may be a message or the fields of one, as for `create`; what is received is a message.
 * Idempotency is read from the descriptor. The result fits a grpc-js server, too.
 *
 * **Gotchas**: a service that is read from a descriptor set at run time has no method that its type tells, so a client
 * of it shows none.
 *
 * **Example** (A client of a generated service)
 *
 * ```ts
 * import { Client } from "@hawser/grpc"
 * import * as ProtobufEs from "@hawser/grpc/ProtobufEs"
 * import * as pb from "./gen/greeter_pb.ts"
 *
 * class Greeter extends Client.Service<Greeter>()("app/Greeter", ProtobufEs.definition(pb.Greeter)) {}
 *
 * const text = Greeter.use((greeter) => greeter.sayHello({ name: "ada" }))
 * ```
 *
 * **Example** (Fields or a message go out, a message comes back)
 *
 * ```ts import.meta.vitest
 * import { fileDesc, type GenService, serviceDesc } from "@bufbuild/protobuf/codegenv2"
 * import { file_google_protobuf_wrappers as wrappers, type StringValueSchema } from "@bufbuild/protobuf/wkt"
 * import { Method } from "@hawser/grpc"
 * import * as ProtobufEs from "@hawser/grpc/ProtobufEs"
 *
 * // As protoc-gen-es writes it.
 * const file = fileDesc(
 *   "Cg1ncmVldGVyLnByb3RvEgRkZW1vGh5nb29nbGUvcHJvdG9idWYvd3JhcHBlcnMucHJvdG8yVgoHR3JlZXRlchJLCghTYXlIZWxsbxIcLmdvb2" +
 *     "dsZS5wcm90b2J1Zi5TdHJpbmdWYWx1ZRocLmdvb2dsZS5wcm90b2J1Zi5TdHJpbmdWYWx1ZSIDkAICYgZwcm90bzM=",
 *   [wrappers]
 * )
 * const Greeter: GenService<{
 *   sayHello: { methodKind: "unary"; input: typeof StringValueSchema; output: typeof StringValueSchema }
 * }> = serviceDesc(file, 0)
 *
 * const method = Method.fromDefinition(ProtobufEs.definition(Greeter).sayHello)
 * method.path // => "/demo.Greeter/SayHello"
 * method.idempotency // => "Idempotent"
 * method.decode(method.encode({ value: "ada" })).value // => "ada"
 * ```
 */
export const definition = <S extends DescService>(service: S): Definition<S> =>
  Object.fromEntries(
    service.methods.map((method) => [method.localName, ofMethod(service, method)])
  ) as unknown as Definition<S>

const ofMethod = (service: DescService, method: DescMethod): MethodDefinition<DescMethod> => {
  const { idempotency, input, methodKind, name, output } = method
  return {
    path: `/${service.typeName}/${name}`,
    requestStream: methodKind === "client_streaming" || methodKind === "bidi_streaming",
    responseStream: methodKind === "server_streaming" || methodKind === "bidi_streaming",
    requestSerialize: encoder(input),
    requestDeserialize: decoder(input),
    responseSerialize: encoder(output),
    responseDeserialize: decoder(output),
    options: Generated.options(levels[idempotency])
  }
}

/** By number: the enum itself would load the descriptors of all well-known types. */
const levels = ["IDEMPOTENCY_UNKNOWN", "NO_SIDE_EFFECTS", "IDEMPOTENT"] as const

const encoder = (schema: DescMessage) =>
  Generated.serialize((value: MessageInitShape<DescMessage>) => toBinary(schema, create(schema, value)))
const decoder = (schema: DescMessage) => Generated.deserialize((bytes) => fromBinary(schema, bytes))
