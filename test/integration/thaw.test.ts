import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as net from "node:net"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { frozen, type FrozenReport } from "../support/grpc/FrozenClient.ts"

/** A way to a server that forgets, as a NAT does: connections that exist say nothing more, later ones work. */
const way = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const pairs = new Set<readonly [net.Socket, net.Socket]>()
      const server = net.createServer((from) => {
        const to = net.connect(port, "127.0.0.1")
        for (const socket of [from, to]) socket.on("error", () => {})
        from.pipe(to)
        to.pipe(from)
        pairs.add([from, to])
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const forget = Effect.sync(() => {
        for (const pair of pairs) for (const socket of pair) socket.unpipe().pause()
      })
      return { address: `127.0.0.1:${(server.address() as net.AddressInfo).port}`, forget, pairs, server }
    }),
    ({ pairs, server }) =>
      Effect.promise(async () => {
        for (const pair of pairs) for (const socket of pair) socket.destroy()
        await new Promise((resolve) => server.close(resolve))
      })
  )

/** 6 s and more are a freeze. */
const millis = 7_000

const fine = ({ after, answered, tags }: FrozenReport) => {
  assert.deepStrictEqual(after, [], "no call after the thaw has failed")
  assert.isAtLeast(answered, 20)
  assert.strictEqual(tags.filter((tag) => tag === "Thawed").length, 1)
  assert.strictEqual(tags.filter((tag) => tag === "Quarantined" || tag === "Ejected").length, 0)
}

describe("a client whose process is stopped for seconds", { concurrent: true }, () => {
  for (const callers of [0, 4]) {
    const what = callers === 0 ? "idle" : "busy"
    it.live(`goes on with the connection that is still there: ${what}`, () =>
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const report = yield* frozen(server.address, callers, millis, Effect.void)
        fine(report)
        assert.strictEqual(server.accepted, 1)
        // Who ran out of time was told why.
        for (const { stalledMillis } of report.before) assert.isAtLeast(stalledMillis, 5_000)
      })
    )

    it.live(`dials at once if its server has closed it: ${what}`, () =>
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const close = Effect.sync(() => {
          for (const socket of server.sockets) socket.destroy()
        })
        fine(yield* frozen(server.address, callers, millis, close))
        assert.strictEqual(server.accepted, 2)
      })
    )

    it.live(`dials anew if the way has forgotten it: ${what}`, () =>
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const { address, forget } = yield* way(server.port)
        fine(yield* frozen(address, callers, millis, forget))
        assert.strictEqual(server.accepted, 2)
      })
    )
  }
})
