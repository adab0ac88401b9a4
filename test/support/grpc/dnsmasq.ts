/** A real name server on a free port of the loopback. */
import { type ServiceRecord } from "@hawser/grpc/Dns"
import { Effect, Schedule, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as dgram from "node:dgram"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { Resolver } from "node:dns/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

type Names = Readonly<Record<string, ReadonlyArray<string>>>

/** What it knows. */
export interface DnsmasqOptions {
  readonly names: Names
  readonly services?: ReadonlyArray<ServiceRecord & { readonly service: string }>
  /** Of every address, in seconds. Default 0. */
  readonly ttl?: number
}

/** A running dnsmasq. */
export interface Dnsmasq {
  /** `127.0.0.1:PORT` */
  readonly address: string
  /** Other addresses from now on: a new file, and SIGHUP. */
  readonly become: (names: Names) => Effect.Effect<void>
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
}

const freePort = Effect.callback<number>((resume) => {
  const socket = dgram.createSocket("udp4")
  socket.bind(0, "127.0.0.1", () => {
    const { port } = socket.address()
    socket.close(() => resume(Effect.succeed(port)))
  })
})

const lines = (names: Names): string =>
  Object.entries(names)
    .flatMap(([name, addresses]) => addresses.map((address) => `${address} ${name}\n`))
    .join("")

/** Whether it answers, and what. */
const ask = async (address: string, name: string): Promise<ReadonlyArray<string> | undefined> => {
  const resolver = new Resolver({ timeout: 200, tries: 1 })
  resolver.setServers([address])
  try {
    return await resolver.resolve(name, "A")
  } catch (e) {
    return (e as { code: string }).code === "ENODATA" ? [] : undefined
  }
}

/** Starts dnsmasq for as long as the scope is open, and waits until it answers. Another port if that one is taken. */
export const make = (options: DnsmasqOptions, tries = 5): Effect.Effect<Dnsmasq, never, Scope.Scope> =>
  Effect.catchDefect(start(options), (defect) => (tries > 1 ? make(options, tries - 1) : Effect.die(defect)))

const start = ({ names, services = [], ttl = 0 }: DnsmasqOptions): Effect.Effect<Dnsmasq, never, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "hawser-dns-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
    )
    const port = yield* freePort
    const address = `127.0.0.1:${port}`
    const hosts = join(folder, "hosts")
    writeFileSync(hosts, lines(names))
    const options = [
      "--keep-in-foreground",
      "--conf-file=/dev/null",
      `--pid-file=${join(folder, "pid")}`,
      "--user=root",
      "--no-resolv",
      "--no-hosts",
      "--local=/test/",
      `--addn-hosts=${hosts}`,
      `--local-ttl=${ttl}`,
      `--port=${port}`,
      "--listen-address=127.0.0.1",
      "--bind-interfaces",
      ...services.map((s) => `--srv-host=${s.service},${s.target},${s.port},${s.priority},${s.weight}`)
    ]
    const child = yield* Effect.acquireRelease(
      Effect.sync((): ChildProcess => spawn("dnsmasq", options, { stdio: "ignore" })),
      (child) =>
        Effect.callback<void>((resume) => {
          if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
          child.once("exit", () => resume(Effect.void))
          child.kill("SIGKILL")
        })
    )
    const says = (names: Names): Effect.Effect<void> => {
      const [name, addresses] = Object.entries(names)[0]!
      const v4 = addresses.filter((one) => one.includes("."))
      const same = (found: ReadonlyArray<string> | undefined) => found?.toSorted().join() === v4.toSorted().join()
      return Effect.promise(() => ask(address, name)).pipe(
        // Nobody tells when another process is ready.
        Effect.repeat({
          until: (found) => same(found) || child.exitCode !== null,
          times: 1_000,
          schedule: Schedule.spaced("10 millis")
        }),
        Effect.flatMap((found) => (same(found) ? Effect.void : Effect.die(new Error(`dnsmasq says ${String(found)}`))))
      )
    }
    yield* says(names)
    const signal = (name: NodeJS.Signals) => Effect.sync(() => void child.kill(name))
    return {
      address,
      become: (names) =>
        Effect.sync(() => {
          writeFileSync(hosts, lines(names))
          child.kill("SIGHUP")
        }).pipe(Effect.andThen(says(names))),
      freeze: signal("SIGSTOP"),
      thaw: signal("SIGCONT")
    }
  })
