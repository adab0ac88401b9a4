/**
 * What the definitions from all generators become: grpc-js method definitions with exact types.
 *
 * That one shape is all that clients, test channels and servers of grpc-js know, so that a generator needs an adapter
 * only here.
 */

/**
 * A method for clients and servers of grpc-js.
 *
 * **Details**: what is sent may have a wider type than what is received, as generators let fields be left out.
 */
export interface MethodDefinition<
  in RequestInit,
  out Request,
  in ResponseInit,
  out Response,
  out Req extends boolean = boolean,
  out Res extends boolean = boolean
> {
  readonly path: string
  readonly requestStream: Req
  readonly responseStream: Res
  readonly requestSerialize: (value: RequestInit) => Buffer
  readonly requestDeserialize: (bytes: Uint8Array) => Request
  readonly responseSerialize: (value: ResponseInit) => Buffer
  readonly responseDeserialize: (bytes: Uint8Array) => Response
  /** Under the name that proto-loader gives it, which `Method.fromDefinition` reads. */
  readonly options: { readonly idempotency_level: string }
}

/** The options of a method, from what its generator says of `option idempotency_level`. */
export const options = (
  idempotency: string | undefined
): MethodDefinition<never, unknown, never, unknown>["options"] => ({
  idempotency_level: idempotency ?? "IDEMPOTENCY_UNKNOWN"
})

/** An encoder as grpc-js needs it: the same memory as a `Buffer`. */
export const serialize =
  <A>(encode: (value: A) => Uint8Array) =>
  (value: A): Buffer => {
    const bytes = encode(value)
    return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

/**
 * A decoder for code that promises plain `Uint8Array`s: cut out of a `Buffer`, the fields of a message would be
 * `Buffer`s, with another `slice` and another JSON.
 */
export const deserialize =
  <A>(decode: (bytes: Uint8Array) => A) =>
  (bytes: Uint8Array): A =>
    decode(Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : bytes)
