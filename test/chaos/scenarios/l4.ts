import { writeFileSync } from "node:fs"
import * as net from "node:net"
import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Ports from "../kit/ports.ts"
import { ChildFailed, start } from "../kit/processes.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const callers = 500
/** So that 500 calls at once are no more than the machine can do. */
const handlerMillis = 500

const configuration = (folder: string, port: number, backends: ReadonlyArray<string>): string => `
global
  stats socket ${folder}/admin.sock level admin
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend all
  bind 127.0.0.1:${port}
  default_backend servers
backend servers
  balance roundrobin
${backends.map((backend, i) => `  server s${i + 1} ${backend}`).join("\n")}
`

/** Says something to the admin socket of HAProxy. */
const admin = (folder: string, command: string): Effect.Effect<string, ChildFailed> =>
  Effect.callback((resume) => {
    let said = ""
    const socket = net.connect(`${folder}/admin.sock`, () => socket.end(`${command}\n`))
    socket.on("data", (chunk) => (said += chunk))
    socket.on("end", () => resume(Effect.succeed(said)))
    socket.on("error", ({ message }) => resume(Effect.fail(new ChildFailed({ child: "haproxy", how: message }))))
  })

export const l4: Scenario = {
  id: "L4",
  title: `HAProxy in tcp mode before three servers, l4: true, at most 12 connections, age of 20 s, ${callers} calls at once`,
  expect: "each of three gets 33 % ± 8 over 60 s; a fourth, added meanwhile, at least 15 % within 40 s; no call fails",
  needs: ["haproxy"],
  play: (stage) =>
    Effect.gen(function* () {
      const { folder } = stage
      const servers = yield* Servers.startMany(4, { delayMillis: handlerMillis })
      const port = yield* Ports.free
      const file = `${folder}/haproxy.cfg`
      const first = servers.slice(0, 3)
      writeFileSync(
        file,
        configuration(
          folder,
          port,
          first.map(({ address }) => address)
        )
      )
      yield* start("haproxy", ["haproxy", "-db", "-f", file], { output: `${folder}/haproxy.out` })
      yield* Ports.listening("127.0.0.1", port)
      const client = yield* Clients.start(stage, {
        target: `ipv4:127.0.0.1:${port}`,
        options: { l4: true, connections: { max: 12, maxAge: "20 seconds" } }
      })
      yield* client.ready(1)
      const startedAt = yield* Clients.now
      yield* client.load({ concurrency: callers, spreadMillis: handlerMillis })
      yield* Effect.sleep("60 seconds")
      const addedAt = yield* Clients.now
      yield* admin(folder, `add server servers/s4 ${servers[3]!.address}`)
      const said = yield* admin(folder, "enable server servers/s4")
      yield* Effect.sleep("40 seconds")
      const endedAt = yield* Clients.now
      const ledger = yield* client.finish()
      const steady = ledger.endedBetween(startedAt, addedAt)
      const shares = first.map(({ name }) => steady.share(name))
      const last = ledger.endedBetween(endedAt - 5_000, endedAt)
      return verdict(
        ledger,
        0,
        [
          { what: "least share of three", value: Math.min(...shares), least: 0.25 },
          { what: "largest share of three", value: Math.max(...shares), most: 0.41 },
          { what: "share of the fourth after 40 s", value: last.share("s4"), least: 0.15 },
          { what: "connections opened", value: client.count("Connected"), least: 6 * 4, most: 12 * 8 }
        ],
        { shares, fourth: ledger.endedBetween(addedAt, endedAt).share("s4"), said }
      )
    })
}
