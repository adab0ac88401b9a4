import { it } from "@effect/vitest"
import { Effect } from "effect"
import * as Client from "../support/grpc/client.ts"
import * as TcpServer from "../support/grpc/TcpServer.ts"
import { execSync } from "node:child_process"
it.live("x", () => Effect.scoped(Effect.gen(function*() {
  const t0 = performance.now()
  const server = yield* TcpServer.make((s) => { console.log("accept", performance.now() - t0); TcpServer.rude(s) })
  const client = yield* Client.make({ endpoints: [server.address], connections: { max: 1 } })
  yield* Effect.sleep(6000)
  console.log(server.accepted, server.sockets.size, JSON.stringify(client.events.map((e) => [e._tag, (e as any).error?.message])), execSync(`ss -tn state all | grep ${server.port}`).toString(), process.getActiveResourcesInfo().filter((r) => r.startsWith("TCP")))
})))
