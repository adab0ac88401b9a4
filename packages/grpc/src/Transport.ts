/**
 * How connections are made, as a replaceable part.
 *
 * **When to use**: to put a virtual network, or another implementation of HTTP/2, in the place of grpc-js.
 *
 * **Gotchas**: read when `Grpc.layer` is built. Provide it to the layer or outside it; inside it comes too late.
 */
import * as Context from "effect/Context"
import type { Transport as Service } from "./Connection.ts"
import * as GrpcJs from "./GrpcJs.ts"

/**
 * How connections are made. The default is grpc-js.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Call, Channel, type Connection, Grpc, Metadata, Transport } from "@hawser/grpc"
 *
 * // A network that answers each call with its request.
 * const connection: Connection.Connection = {
 *   peer: "here:1",
 *   start: (_, listener) => ({
 *     send: (bytes) =>
 *       queueMicrotask(() => {
 *         listener.onMessage(bytes)
 *         listener.onStatus(0, "", Metadata.empty, "Answered")
 *       }),
 *     end: () => {},
 *     read: () => {},
 *     cancel: () => {}
 *   })
 * }
 * const session = { connection, limit: () => 1, heardAt: () => 0, ended: () => undefined, listen: () => {} }
 * const network: Connection.Transport = { connector: () => Effect.succeed(() => Effect.succeed(session)) }
 *
 * const layer = Grpc.layer({ target: "ipv4:10.0.0.1" }).pipe(Layer.provide(Layer.succeed(Transport.Transport, network)))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Greeter/SayHello", kind: "unary", idempotency: "Unknown", ...codec }, "ada")
 * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide(layer))
 * const { connection: id, message } = await Effect.runPromise(program)
 * message // => "ada"
 * id // => "10.0.0.1:443#1"
 * ```
 */
export const Transport: Context.Reference<Service> = Context.Reference<Service>("hawser/Transport", {
  defaultValue: () => GrpcJs.make()
})
