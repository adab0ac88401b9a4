/**
 * Network namespaces of our own, in which packets can be dropped: `nft` sees nothing but what is in there. They are named
 * after this process, and go with the scope, or with the process.
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { Effect, type Scope } from "effect"

/** A namespace with nothing in it but its own loopback: all of 127.0.0.0/8 is in reach. */
export interface Namespace {
  readonly name: string
  /** Runs a program in it; dies with what it said unless it ends well. */
  readonly run: (command: string, ...args: ReadonlyArray<string>) => Effect.Effect<string>
  /** Adds a rule to what arrives: `tcp dport 50051 drop`. */
  readonly rule: (rule: string) => Effect.Effect<void>
  /** Takes all rules away. */
  readonly calm: Effect.Effect<void>
  /** Our ends of the established connections to an address. */
  readonly ports: (address: string) => Effect.Effect<ReadonlyArray<number>>
  /** Cuts them by a reset: what the kernel does to them, no peer asked. */
  readonly reset: (address: string) => Effect.Effect<void>
}

const prefix = `hawser-${process.pid}-`
const existing = new Set<string>()
let made = 0

const must = (command: string, args: ReadonlyArray<string>, input?: string): string => {
  const { error, status, stderr, stdout } = spawnSync(command, args, { encoding: "utf8", input })
  if (status === 0) return stdout
  throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr.trim()}`)
}

const remove = (name: string): void => {
  if (!existing.delete(name)) return
  spawnSync("ip", ["netns", "del", name])
  rmSync(`/etc/netns/${name}`, { recursive: true, force: true })
}

// For the ends that no finalizer sees.
process.on("exit", () => existing.forEach(remove))

const rules = `table inet chaos {
  chain input { type filter hook input priority 0; }
}`

/** One that is gone when the scope closes. With `nameserver`, names are asked of that address in it. */
export const make = (nameserver?: string): Effect.Effect<Namespace, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const name = `${prefix}${++made}`
        existing.add(name)
        if (nameserver !== undefined) {
          mkdirSync(`/etc/netns/${name}`, { recursive: true })
          writeFileSync(`/etc/netns/${name}/resolv.conf`, `nameserver ${nameserver}\noptions timeout:2 attempts:1\n`)
        }
        must("ip", ["netns", "add", name])
        must("ip", ["-n", name, "link", "set", "lo", "up"])
        must("ip", ["netns", "exec", name, "nft", "-f", "-"], rules)
        return name
      }),
      (name) => Effect.sync(() => remove(name))
    ),
    (name): Namespace => {
      const run = (...command: ReadonlyArray<string>) =>
        Effect.sync(() => must("ip", ["netns", "exec", name, ...command]))
      return {
        name,
        run,
        rule: (rule) => Effect.asVoid(run("nft", `add rule inet chaos input ${rule}`)),
        calm: Effect.asVoid(run("nft", "flush chain inet chaos input")),
        ports: (address) =>
          Effect.map(run("ss", "-Htn", "state", "established", "dst", address), (lines) =>
            lines
              .split("\n")
              .flatMap((line) => /\s\S+:(\d+)\s+\S+:\d+\s*$/.exec(line)?.[1] ?? [])
              .map(Number)
          ),
        // It says "Invalid argument" of some and ends with 0 all the same.
        reset: (address) => Effect.asVoid(run("ss", "-K", "-Htn", "dst", address))
      }
    }
  )
