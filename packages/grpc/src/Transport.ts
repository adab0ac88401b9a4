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

/** How connections are made. The default is grpc-js. */
export const Transport: Context.Reference<Service> = Context.Reference<Service>("hawser/Transport", {
  defaultValue: () => GrpcJs.make()
})
