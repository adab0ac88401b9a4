/** Handlers written once: served by grpc-js on a real socket, and by the virtual network. */
import { Metadata } from "@hawser/grpc"
import * as GrpcJs from "@hawser/grpc/GrpcJs"
import { type ServiceHandlers, reply } from "@hawser/testing/Handler"
import * as Route from "@hawser/testing/Route"
import { World } from "@hawser/testing/Simulation"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import * as TestServer from "@hawser/testing/TestServer"
import * as VirtualTransport from "@hawser/testing/VirtualTransport"
import { Effect, Exit, Stream } from "effect"
import { client, type CrossClient, definition, type Ended, many, one } from "./CrossPeer.ts"

/** One handler and one call. */
export interface Handling {
  readonly name: string
  readonly handlers: ServiceHandlers<typeof definition>
  readonly act: (calls: CrossClient["calls"]) => Effect.Effect<Ended>
}

const message = Buffer.from("message")
const unary = (calls: CrossClient["calls"]) => one(calls.unary(message))
const download = (calls: CrossClient["calls"]) => many(calls.download(message))
const trailers = Metadata.fromRecord({ "x-trailer": "b" })
const gone = { _tag: "NotFound", details: "gone", metadata: trailers } as const

/** What a handler does, and whoever calls it. */
export const handlings: ReadonlyArray<Handling> = [
  { name: "answers", handlers: { unary: Effect.succeed }, act: unary },
  {
    name: "answers with headers and trailers",
    handlers: {
      unary: (input) => Effect.succeed(reply(input, { headers: Metadata.fromRecord({ "x-header": "a" }), trailers }))
    },
    act: unary
  },
  { name: "fails", handlers: { unary: () => Effect.fail(gone) }, act: unary },
  { name: "is not there", handlers: {}, act: unary },
  { name: "streams", handlers: { download: (input) => Stream.make(input, input, input) }, act: download },
  { name: "streams nothing", handlers: { download: () => Stream.empty }, act: download },
  { name: "fails before the first message", handlers: { download: () => Stream.fail(gone) }, act: download },
  {
    name: "takes requests and answers",
    handlers: { upload: (requests) => Effect.as(Stream.runDrain(requests), message) },
    act: (calls) => one(calls.upload(Stream.make(message, message)))
  },
  {
    name: "answers without taking the requests",
    handlers: { upload: () => Effect.succeed(message) },
    act: (calls) => one(calls.upload(Stream.make(message, message)))
  },
  {
    name: "answers each request",
    handlers: { chat: (requests) => requests },
    act: (calls) => many(calls.chat(Stream.make(message, message, message)))
  }
]

/** Servers choose their own words where a handler has none. */
const seen = (self: CrossClient, ended: Ended) => ({
  ended,
  heard: self.heard.map((one) => ({ ...one, status: one.status?.replace(/^(0|12) ".*"/, "$1") }))
})

/** Against grpc-js's own server. */
export const real = ({ act, handlers }: Handling): Promise<unknown> =>
  Effect.gen(function* () {
    const server = yield* TestServer.make(definition, handlers)
    const self = yield* client({ transport: GrpcJs.make() }, [server.address])
    yield* Effect.orDie(self.cluster.awaitReady())
    return seen(self, yield* act(self.calls))
  }).pipe(Effect.scoped, Effect.runPromise)

/** Against the virtual network's. */
export const virtual = async ({ act, handlers }: Handling, seed: number): Promise<unknown> => {
  const { exit } = await new World({ seed }).run(
    Effect.gen(function* () {
      const net = yield* TestNetwork.make
      const address = "10.0.0.1:50051"
      const server = yield* net.serve({ address, routes: Route.ofService(definition, handlers) })
      // The server's own deadline passes after the client's.
      server.host.weather.latency = 1
      const self = yield* client({ transport: VirtualTransport.make(net.network) }, [address])
      yield* Effect.orDie(self.cluster.awaitReady())
      return seen(self, yield* act(self.calls))
    })
  )
  if (Exit.isFailure(exit)) throw new Error(`seed ${seed}: ${exit.cause.toString()}`)
  return exit.value
}
