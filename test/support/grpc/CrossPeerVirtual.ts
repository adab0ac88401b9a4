/** The virtual network as a peer of the cross-check. */
import * as Route from "@hawser/testing/Route"
import type { ServerConnection } from "@hawser/testing/ServerConnection"
import type { ServerStream } from "@hawser/testing/ServerStream"
import { World } from "@hawser/testing/Simulation"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import type { VirtualServer } from "@hawser/testing/VirtualServer"
import * as VirtualTransport from "@hawser/testing/VirtualTransport"
import * as Metadata from "@hawser/grpc/Metadata"
import { Cause, Effect, Exit, Latch, type Scope, Stream } from "effect"
import { definition, type Handled, type Peer, type Server, type ServerOptions } from "./CrossPeer.ts"

class VirtualCall implements Handled {
  received = 0
  /** Whether it is the server that ended it. */
  ended = false
  left = 0
  size = 0
  readonly flooding = Latch.makeUnsafe()
  readonly stream: ServerStream
  private readonly connection: ServerConnection

  constructor(stream: ServerStream, connection: ServerConnection) {
    this.stream = stream
    this.connection = connection
  }
  get halfClosed(): boolean {
    return this.stream.halfClosed
  }
  get over(): boolean {
    return !this.connection.streams.has(this.stream.id)
  }
  get cancelled(): boolean {
    return this.over && !this.ended
  }
  headers(): void {
    this.stream.greet(Metadata.empty)
  }
  message(bytes = 0): void {
    this.headers()
    this.stream.data(Buffer.alloc(bytes))
  }
  status(code: number, details = ""): void {
    this.ended = true
    this.stream.status(code, details, Metadata.empty)
  }
  reset(code: number): void {
    this.ended = true
    this.stream.reset(code)
  }
  flood(messages: number, bytes: number): void {
    this.left = messages
    this.size = bytes
    this.flooding.openUnsafe()
  }
}

class Virtual implements Server {
  readonly calls: Array<VirtualCall> = []
  flooded = 0
  private server: VirtualServer | undefined = undefined
  private readonly options: ServerOptions
  readonly address: string

  constructor(address: string, options: ServerOptions) {
    this.address = address
    this.options = options
  }

  serve(server: VirtualServer): void {
    this.server = server
    server.manners.mute = this.options.mute === true
    // Until a handler begins: the server's own deadline shall pass after what the client does at its deadline.
    server.host.weather.latency = 1
  }
  get accepted(): number {
    return this.server!.seen.accepted
  }
  get open(): number {
    return this.server!.host.openClients
  }
  cut(): void {
    this.server!.host.cut()
  }
  hangUp(): void {
    for (const connection of this.server!.connections) connection.hangUp()
  }
  readonly stop = Effect.sync(() => this.server!.kill())
  readonly start = Effect.sync(() => this.server!.start())
  goAway(lastStream?: number, code?: number): void {
    if (lastStream === undefined) return this.server!.goAway({ code })
    for (const call of this.calls) if (call.stream.id > lastStream) call.ended = true
    this.server!.goAway({ abrupt: true, lastStream, code })
  }
  limit(streams: number): void {
    this.server!.manners.maxStreams = streams
    this.server!.tellLimit()
  }

  /** Handlers that do nothing by themselves. */
  get routes(): Route.Routes {
    const unary = () => this.handled(1, () => Effect.never)
    const upload = (requests: Stream.Stream<unknown>) =>
      this.handled(0, (call) => Effect.andThen(this.reading(call, requests), Effect.never))
    const download = () => Stream.unwrap(this.handled(1, (call) => Effect.succeed(this.answers(call))))
    const chat = (requests: Stream.Stream<unknown>) => {
      const answers = (call: VirtualCall) =>
        Stream.merge(Stream.fromEffectDrain(this.reading(call, requests)), this.answers(call))
      return Stream.unwrap(this.handled(0, (call) => Effect.succeed(answers(call))))
    }
    return Route.ofService(definition, { unary, download, upload, chat })
  }

  private handled<A>(received: number, work: (call: VirtualCall) => Effect.Effect<A>): Effect.Effect<A> {
    return Effect.suspend(() => {
      this.server!.host.weather.latency = 0
      const call = this.newest()
      call.received = received
      this.calls.push(call)
      this.options.onCall?.(call)
      return work(call)
    })
  }

  /** The call whose handler begins: the one that none has begun on. */
  private newest(): VirtualCall {
    const known = new Set(this.calls.map((call) => call.stream))
    for (const connection of this.server!.connections) {
      for (const stream of connection.streams.values()) {
        if (!known.has(stream)) return new VirtualCall(stream, connection)
      }
    }
    throw new Error("a handler without a call")
  }

  private reading(call: VirtualCall, requests: Stream.Stream<unknown>): Effect.Effect<void> {
    return Stream.runForEach(requests, () => Effect.sync(() => void call.received++))
  }

  private answers(call: VirtualCall): Stream.Stream<Buffer> {
    const next = Effect.suspend(() => {
      if (call.left-- === 0) {
        call.ended = true
        return Cause.done()
      }
      this.flooded++
      return Effect.succeed([Buffer.alloc(call.size)] as const)
    })
    return Stream.fromPull(Effect.succeed(Effect.andThen(call.flooding.await, next)))
  }
}

/** Plays a program on a virtual network of its own. */
export const run = async <A>(
  seed: number,
  program: (peer: Peer) => Effect.Effect<A, never, Scope.Scope>
): Promise<A> => {
  const looks = new Set<() => void>()
  const world: World = new World({ seed, check: () => looks.forEach((look) => look()) })
  let hosts = 0
  const address = () => `10.0.0.${++hosts}:50051`
  const result = await world.run(
    Effect.gen(function* () {
      const net = yield* TestNetwork.make
      return yield* program({
        transport: VirtualTransport.make(net.network),
        serve: (options = {}) =>
          Effect.gen(function* () {
            const server = new Virtual(address(), options)
            const serving = net.serve({ address: server.address, routes: server.routes, maxStreams: options.limit })
            server.serve(yield* Effect.orDie(serving))
            return server
          }),
        nowhere: Effect.sync(address),
        until: (what, ok) =>
          world.named(
            what,
            Effect.callback<void>((resume) => {
              const look = () => {
                if (!ok()) return
                looks.delete(look)
                resume(Effect.void)
              }
              looks.add(look)
              look()
              return Effect.sync(() => looks.delete(look))
            })
          )
      })
    })
  )
  if (Exit.isFailure(result.exit)) throw new Error(`seed ${seed}: ${result.exit.cause.toString()}`)
  return result.exit.value
}
