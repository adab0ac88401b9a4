/** Names in a namespace: the system there asks a server of ours. */
import { writeFileSync } from "node:fs"
import { Effect, type Scope } from "effect"
import type { DnsAnswer, FromDns, ToDns } from "./messages.ts"
import * as Namespaces from "./namespaces.ts"
import { type ChildFailed, fork, start } from "./processes.ts"

/** Who answers there; nothing else listens on it. */
export const nameserver = "127.0.0.53"
export const name = "echo.chaos"

/** A name server that says what it is told. */
export interface Liar {
  readonly namespace: Namespaces.Namespace
  readonly say: (answer: DnsAnswer) => Effect.Effect<void, ChildFailed>
  /** How many A records it has been asked for. */
  readonly asked: Effect.Effect<number, ChildFailed>
}

/** A namespace with such a server. */
export const liar: Effect.Effect<Liar, ChildFailed, Scope.Scope> = Effect.gen(function* () {
  const namespace = yield* Namespaces.make(nameserver)
  const config = { host: nameserver, port: 53 }
  const child = yield* fork<ToDns, FromDns>("dns", "./dns.ts", config, { namespace: namespace.name })
  yield* child.hear("listening")
  return {
    namespace,
    say: (answer) => Effect.asVoid(child.ask({ tag: "say", answer }, "done")),
    asked: Effect.map(child.ask({ tag: "count" }, "count"), ({ asked }) => asked)
  }
})

/** A namespace with dnsmasq, whose hosts are replaced by a file and SIGHUP. */
export const dnsmasq = (folder: string, first: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const namespace = yield* Namespaces.make(nameserver)
    const hosts = `${folder}/hosts`
    const write = (addresses: ReadonlyArray<string>) =>
      Effect.sync(() => writeFileSync(hosts, addresses.map((address) => `${address} ${name}\n`).join("")))
    yield* write(first)
    const command = `dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --addn-hosts=${hosts}`
    const options = `--listen-address=${nameserver} --bind-interfaces --local=/chaos/ --pid-file=${folder}/dnsmasq.pid --user=root`
    const child = yield* start("dnsmasq", `${command} ${options}`.split(" "), {
      namespace: namespace.name,
      output: `${folder}/dnsmasq.out`
    })
    yield* Effect.sleep("300 millis")
    return {
      namespace,
      become: (addresses: ReadonlyArray<string>) =>
        Effect.andThen(
          write(addresses),
          Effect.sync(() => void child.kill("SIGHUP"))
        )
    }
  })
