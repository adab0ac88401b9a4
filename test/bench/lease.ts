/**
 * B4: lease and release through the whole core (queue, balancer, pools, subchannels), and a unary through the bridge,
 * over connections that need no network.
 */
import type { Borrow } from "@hawser/core/Borrow"
import * as Cluster from "@hawser/core/Cluster"
import type { ConnectError } from "@hawser/core/ConnectError"
import * as Demand from "@hawser/core/Demand"
import * as Endpoint from "@hawser/core/Endpoint"
import type { Lease } from "@hawser/core/Lease"
import * as Bridge from "@hawser/grpc/Bridge"
import * as Call from "@hawser/grpc/Call"
import type { Connection } from "@hawser/grpc/Connection"
import * as Effect from "effect/Effect"
import { answer, cpuNanos, nanosPer } from "./alone.ts"
import { client, connector, method } from "./inMemory.ts"
import { median } from "./pair.ts"
import { type Result, round, type Row } from "./result.ts"

const clusterOf = (endpoints: number) =>
  Effect.tap(
    Cluster.make({
      target: "bench",
      endpoints: Array.from({ length: endpoints }, (_, i) =>
        Endpoint.makeUnsafe({ addresses: [`10.0.${i >> 8}.${i & 255}:50051`] })
      ),
      connector: connector(100)
    }),
    (cluster) => cluster.awaitReady(endpoints)
  )

const borrow: Borrow<Connection, ConnectError> = {
  ...Demand.make({ method: method.path }),
  granted: (lease: Lease<Connection>) => lease.release("Success"),
  refused: (error: ConnectError) => {
    throw error
  }
}

const leaseNanos = (endpoints: number, operations: number): Promise<number> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.map(clusterOf(endpoints), (cluster) =>
        nanosPer(operations, (n) => {
          for (let i = 0; i < n; i++) cluster.borrowUnsafe(borrow)
        })
      )
    )
  )

/** The same loop around each effect, in turns: the difference is Hawser's, the lease included. */
const unaryNanos = (unary: () => Effect.Effect<unknown, unknown>, operations: number) => {
  const timed = (body: () => Effect.Effect<unknown, unknown>) =>
    Effect.gen(function* () {
      let left = operations
      const startedAt = cpuNanos()
      yield* Effect.whileLoop({ while: () => left-- > 0, body, step: () => {} })
      return (cpuNanos() - startedAt) / operations
    })
  const nothing = Effect.succeed(0)
  return Effect.gen(function* () {
    yield* timed(() => nothing)
    yield* timed(unary)
    const differences: Array<number> = []
    for (let i = 0; i < 7; i++) {
      const floor = yield* timed(() => nothing)
      differences.push((yield* timed(unary)) - floor)
    }
    return median(differences)
  })
}

const bytes = Buffer.alloc(100)

const bridgeNanos = (operations: number): Promise<number> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.flatMap(clusterOf(1), ({ borrowUnsafe }) => {
        const channel = Bridge.make({ borrowUnsafe, maxSendBytes: 4 << 20, now: () => performance.now() })
        return unaryNanos(() => channel.unary(Call.make(method, bytes)), operations)
      })
    )
  )

const clientNanos = (operations: number): Promise<number> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const { cluster, echo } = yield* client(100, 1_000)
        yield* cluster.awaitReady()
        return yield* unaryNanos(() => echo(bytes), operations)
      })
    )
  )

answer(async (quick): Promise<Result> => {
  const operations = quick ? 100_000 : 300_000
  const rows: Array<Row> = []
  const row = (what: string, endpoints: number, nanos: number): number => {
    rows.push({ measurement: "lease", what, endpoints, nanos: round(nanos, 0) })
    return nanos
  }
  row("lease + release", 1, await leaseNanos(1, operations))
  row("lease + release", 10, await leaseNanos(10, operations))
  const B4 = row("lease + release", 1000, await leaseNanos(1000, operations))
  const B4b = row("a unary through the bridge", 1, await bridgeNanos(operations))
  row("a unary of a client with all defaults", 1, await clientNanos(operations))
  return { values: { B4, B4b }, rows }
})
