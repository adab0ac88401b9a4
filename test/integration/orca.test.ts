/** Backends that report their load in the trailers of answers, as grpc-js's own servers do, and as handlers may. */
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { RoundRobin, WeightedRoundRobin } from "@hawser/core"
import { type Channel, Client, Credentials, Grpc, Metadata, Orca } from "@hawser/grpc"
import { TestServer } from "@hawser/testing"
import { reply } from "@hawser/testing/Handler"
import { Context, Effect, Layer, type Scope } from "effect"
import { type EchoReply, type EchoRequest, EchoService } from "../generated/echo.ts"
import { leavesNothing } from "../support/grpc/eventually.ts"
import { request } from "../support/grpc/client.ts"

class Echo extends Client.Service<Echo>()("test/Echo", EchoService) {}

interface Backend {
  readonly address: string
  readonly calls: () => number
}

/** A grpc-js server that says so much of its load; with `status`, beside a failure. */
const backend = (requests: number, utilization: number, status = 0): Effect.Effect<Backend, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Backend & { readonly server: grpc.Server }>((resume) => {
      let calls = 0
      const server = new grpc.Server({ "grpc.server_call_metric_recording": 1 })
      server.addService(
        { echo: (EchoService as unknown as grpc.ServiceDefinition)["echo"]! },
        {
          echo: (call: grpc.ServerUnaryCall<EchoRequest, EchoReply>, callback: grpc.sendUnaryData<EchoReply>) => {
            calls++
            const recorder = call.getMetricsRecorder()
            recorder.recordQpsMetric(requests)
            recorder.recordApplicationUtilizationMetric(utilization)
            if (status !== 0) callback({ code: status, details: "as asked" })
            else callback(null, { id: call.request.id, payload: call.request.payload, server: "" })
          }
        }
      )
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_, port) =>
        resume(Effect.succeed({ server, address: `127.0.0.1:${port}`, calls: () => calls }))
      )
    }),
    ({ server }) => Effect.sync(() => server.forceShutdown())
  )

const client = (balancer: typeof RoundRobin.policy, backends: ReadonlyArray<{ readonly address: string }>) =>
  Effect.gen(function* () {
    const target = `ipv4:${backends.map(({ address }) => address).join()}`
    const layer: Layer.Layer<Channel.Channel | Grpc.GrpcCluster> = Layer.orDie(
      Grpc.layer({ target, credentials: Credentials.insecure, retry: false, balancer })
    )
    const context = yield* Layer.build(Layer.provideMerge(Echo.layer, layer))
    yield* Effect.orDie(Context.get(context, Grpc.GrpcCluster).awaitReady(backends.length))
    return Context.get(context, Echo)
  })

const soon = WeightedRoundRobin.make({ blackoutPeriod: 0, weightUpdatePeriod: 100 })
/** Calls until the weights have been taken from reports, and then sixty: grpc-js's servers read a file for each report. */
const counted = 60
const shares = (echo: Echo["Service"], backends: ReadonlyArray<Backend>) =>
  Effect.gen(function* () {
    const one = Effect.ignore(echo.echo(request()))
    const until = Date.now() + 250
    while (Date.now() < until) yield* one
    yield* one
    const before = backends.map(({ calls }) => calls())
    yield* Effect.forEach(Array.from({ length: counted }), () => one, { discard: true })
    return backends.map(({ calls }, i) => (calls() - before[i]!) / counted)
  })

describe("ORCA reports", () => {
  it.live("move calls to the backend that has room, from grpc-js's own servers", () =>
    leavesNothing(
      Effect.gen(function* () {
        const backends = [yield* backend(100, 0.2), yield* backend(100, 0.8)]
        const [idle, busy] = yield* shares(yield* client(soon, backends), backends)
        assert.closeTo(idle!, 0.8, 0.04)
        assert.closeTo(busy!, 0.2, 0.04)
      })
    )
  )

  it.live("count beside failures, too", () =>
    leavesNothing(
      Effect.gen(function* () {
        const backends = [
          yield* backend(100, 0.25, grpc.status.NOT_FOUND),
          yield* backend(100, 0.75, grpc.status.NOT_FOUND)
        ]
        const [idle] = yield* shares(yield* client(soon, backends), backends)
        assert.closeTo(idle!, 0.75, 0.04)
      })
    )
  )

  it.live("are ignored where they are garbage, and the calls succeed", () =>
    leavesNothing(
      Effect.gen(function* () {
        const bytes = [Uint8Array.of(0xff, 0xff), new Uint8Array(4_000).fill(0x09), Uint8Array.of(0x42, 0x7f, 0x0a)]
        const trailers = (i: number) => Metadata.fromRecord({ [Orca.header]: bytes[i % bytes.length]! })
        let told = 0
        const handlers = {
          echo: ({ id, payload }: EchoRequest) =>
            Effect.sync(() => reply({ id, payload, server: "" }, { trailers: trailers(told++) }))
        }
        const servers = [yield* TestServer.make(EchoService, handlers), yield* TestServer.make(EchoService, handlers)]
        const echo = yield* client(soon, servers)
        for (let i = 0; i < 20; i++) assert.strictEqual((yield* echo.echo(request({ id: `${i}` }))).id, `${i}`)
      }).pipe(Effect.orDie)
    )
  )

  it.live("are not heard by a policy that does not ask for them", () =>
    leavesNothing(
      Effect.gen(function* () {
        const backends = [yield* backend(100, 0.2), yield* backend(100, 0.8)]
        const [idle] = yield* shares(yield* client(RoundRobin.policy, backends), backends)
        assert.closeTo(idle!, 0.5, 0.04)
      })
    )
  )
})
