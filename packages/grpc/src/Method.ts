/**
 * A gRPC method: a path, a kind and two codecs.
 *
 * Every code generator for grpc-js emits the same method definition; `fromDefinition` reads it as it is.
 */

/** How many messages go each way. */
export type Kind = "unary" | "serverStreaming" | "clientStreaming" | "bidiStreaming"

/**
 * Whether doing it twice is the same as doing it once. `Unknown` counts as no: such a call is sent again only where it
 * is proved that no server acted on it.
 */
export type Idempotency = "Unknown" | "Idempotent" | "NoSideEffects"

/**
 * A gRPC method.
 *
 * **Gotchas**: codecs may throw; the call then fails with `Internal`, not as a defect.
 */
export interface Method<in I, out O, out K extends Kind = Kind> {
  /** `/package.Service/Method` */
  readonly path: string
  readonly kind: K
  readonly idempotency: Idempotency
  readonly encode: (value: I) => Uint8Array
  readonly decode: (bytes: Uint8Array) => O
}

/** What ts-proto (`outputServices=grpc-js`), proto-loader and protoc emit for one method. */
export interface Definition<in I, out O, out Req extends boolean = boolean, out Res extends boolean = boolean> {
  readonly path: string
  readonly requestStream: Req
  readonly responseStream: Res
  readonly requestSerialize: (value: I) => Uint8Array
  readonly responseDeserialize: (bytes: Buffer) => O
  /** proto-loader's copy of the options in the proto file. */
  readonly options?: { readonly idempotency_level?: string | undefined } | undefined
}

/** The kind that two streaming flags stand for; all kinds where they are not literal. */
export type KindOf<Req, Res> = [Req, Res] extends [false, false]
  ? "unary"
  : [Req, Res] extends [false, true]
    ? "serverStreaming"
    : [Req, Res] extends [true, false]
      ? "clientStreaming"
      : [Req, Res] extends [true, true]
        ? "bidiStreaming"
        : Kind

/**
 * The method that a definition stands for.
 *
 * **Gotchas**: a type that says `requestStream: boolean` has lost its kind, as those of proto-loader-gen-types have; see
 * `withKinds`.
 */
export type FromDefinition<D> = D extends {
  readonly requestStream: infer Req
  readonly responseStream: infer Res
  readonly requestSerialize: (value: infer I) => Uint8Array
  readonly responseDeserialize: (bytes: Buffer) => infer O
}
  ? Method<I, O, KindOf<Req, Res>>
  : never

const idempotencies: ReadonlyMap<string | undefined, Idempotency> = new Map([
  ["IDEMPOTENT", "Idempotent"],
  ["NO_SIDE_EFFECTS", "NoSideEffects"]
])

/**
 * The kind of a definition, from its two flags.
 *
 * ```ts import.meta.vitest
 * import { Method } from "@hawser/grpc"
 *
 * Method.kindOf({ requestStream: true, responseStream: false }) // => "clientStreaming"
 * ```
 */
export const kindOf = (definition: { readonly requestStream: boolean; readonly responseStream: boolean }): Kind =>
  definition.requestStream
    ? definition.responseStream
      ? "bidiStreaming"
      : "clientStreaming"
    : definition.responseStream
      ? "serverStreaming"
      : "unary"

/**
 * Reads a grpc-js method definition.
 *
 * **Details**: `idempotency` is taken from `option idempotency_level`, which proto-loader keeps and ts-proto does not;
 * the second argument overrides it.
 *
 * ```ts import.meta.vitest
 * import { Method } from "@hawser/grpc"
 *
 * const method = Method.fromDefinition({
 *   path: "/demo.Greeter/SayHello",
 *   requestStream: false as const,
 *   responseStream: false as const,
 *   requestSerialize: (name: string) => Buffer.from(name),
 *   responseDeserialize: (bytes: Buffer) => bytes.toString()
 * }, "Idempotent")
 * method.kind // => "unary"
 * method.decode(method.encode("ada")) // => "ada"
 * ```
 */
export const fromDefinition = <I, O, Req extends boolean, Res extends boolean>(
  definition: Definition<I, O, Req, Res>,
  idempotency?: Idempotency | undefined
): Method<I, O, KindOf<Req, Res>> => {
  const deserialize = definition.responseDeserialize
  return {
    path: definition.path,
    kind: kindOf(definition) as KindOf<Req, Res>,
    idempotency: idempotency ?? idempotencies.get(definition.options?.idempotency_level) ?? "Unknown",
    encode: definition.requestSerialize,
    // Generated code expects a Buffer; transports hand out whichever they have.
    decode: (bytes) =>
      deserialize(Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  }
}

/** The streaming flags that a grpc-js server handler stands for. */
export type FlagsOf<H> = H extends (...args: infer A) => void
  ? A extends readonly [infer C, unknown, ...ReadonlyArray<unknown>]
    ? { readonly requestStream: C extends { readonly request: unknown } ? false : true; readonly responseStream: false }
    : A extends readonly [infer C]
      ? {
          readonly requestStream: C extends { readonly request: unknown } ? false : true
          readonly responseStream: true
        }
      : unknown
  : unknown

/** A service definition with the kinds of its methods put back. */
export type WithKinds<S, H> = {
  // Without the index signature of `grpc.ServiceDefinition`.
  readonly [K in keyof S as string extends K ? never : number extends K ? never : K]: K extends keyof H
    ? S[K] & FlagsOf<H[K]>
    : S[K]
}

/**
 * Puts the kinds back into a definition whose types have lost them, from the types of its server handlers.
 *
 * **When to use**: for proto-loader with the types of `proto-loader-gen-types`:
 * `Method.withKinds<GreeterHandlers>()(packageDefinition.demo.Greeter.service)`.
 *
 * **Details**: changes types only; the definition itself is returned.
 *
 * ```ts import.meta.vitest
 * import { Method } from "@hawser/grpc"
 *
 * interface GreeterHandlers {
 *   readonly SayHello: (call: { readonly request: string }, callback: (error: Error | null) => void) => void
 * }
 * const loaded = {
 *   SayHello: {
 *     path: "/demo.Greeter/SayHello",
 *     requestStream: false as boolean,
 *     responseStream: false as boolean,
 *     requestSerialize: (name: string) => Buffer.from(name),
 *     responseDeserialize: (bytes: Buffer) => bytes.toString()
 *   }
 * }
 * const Greeter = Method.withKinds<GreeterHandlers>()(loaded)
 * Greeter === loaded // => true
 * // Without `withKinds` the type would be that of all four kinds.
 * Method.fromDefinition(Greeter.SayHello).kind satisfies "unary" // => "unary"
 * ```
 */
export const withKinds =
  <Handlers>() =>
  <S extends object>(definition: S): WithKinds<S, Handlers> =>
    definition as WithKinds<S, Handlers>
