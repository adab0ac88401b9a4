/** Connections that end in the middle of anything: of the greeting, of headers, of a message, of trailers. */
import { assert, describe, it } from "@effect/vitest"
import { RpcError } from "@hawser/grpc"
import { Effect } from "effect"
import * as Client from "../support/grpc/client.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { leavesNothing } from "../support/grpc/eventually.ts"
import * as TcpProxy from "../support/grpc/TcpProxy.ts"

const cuts = 400
/** What a busy machine may add to a timeout. */
const slackMillis = 250

describe("a connection that is cut", () => {
  it.live(
    `after each number of bytes from 1 to ${cuts} ends its call as lost, with or without an answer`,
    () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* EchoServer.make()
          const once = (bytes: number) =>
            Effect.scoped(
              Effect.gen(function* () {
                const proxy = yield* TcpProxy.make(server.address)
                proxy.faults = { cutAfter: bytes }
                const client = yield* Client.make({
                  endpoints: [`127.0.0.1:${proxy.port}`],
                  connections: { max: 1 },
                  drain: 0
                })
                const began = performance.now()
                const call = client.echo.echo(Client.request({ payload: Buffer.alloc(100) }), { timeout: "2 seconds" })
                const result = yield* Effect.result(call)
                const millis = performance.now() - began
                return {
                  bytes,
                  millis,
                  code: result._tag === "Success" ? 0 : RpcError.codes[result.failure.reason._tag]
                }
              })
            )
          const all = yield* Effect.forEach(
            Array.from({ length: cuts }, (_, i) => i + 1),
            once,
            { concurrency: 32 }
          )
          assert.lengthOf(all, cuts)
          for (const { bytes, code, millis } of all) {
            assert.include([0, 2, 4, 13, 14], code, `after ${bytes} bytes`)
            assert.isAtMost(millis, 2_000 + slackMillis, `after ${bytes} bytes`)
          }
          const count = (code: number) => all.filter((one) => one.code === code).length
          // In the greeting and in the answer there were many places; the last of them were after it.
          assert.isAbove(count(RpcError.codes.Unavailable), 50)
          assert.isAbove(count(0), 50)
        })
      ),
    60_000
  )
})
