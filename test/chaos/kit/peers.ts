/** Servers that are not ours, in Go and Python. They end when their stdin does. */
import { spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { Effect, type Scope } from "effect"
import { own } from "../../bench/children.ts"
import type { Namespace } from "./namespaces.ts"
import { ChildFailed, end, inside } from "./processes.ts"

export interface PeerConfig {
  readonly Name?: string
  readonly Host?: string
  readonly Port?: number
  readonly DelayMillis?: number
  readonly MaxStreams?: number
  readonly AgeMillis?: number
  readonly GraceMillis?: number
  /** Go only. */
  readonly MinPingMillis?: number
}

export interface Peer {
  readonly name: string
  /** `HOST:PORT` */
  readonly address: string
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

const buildGo = (): string => {
  const source = here("./peers/go/main.go")
  const cache = here("../../../.cache/peers/")
  const version = spawnSync("go", ["version"], { encoding: "utf8" }).stdout
  const key = createHash("sha256").update(version).update(readFileSync(source)).digest("hex").slice(0, 16)
  const binary = `${cache}go-${key}`
  if (existsSync(binary)) return binary
  mkdirSync(cache, { recursive: true })
  const partial = `${binary}.${process.pid}`
  const built = spawnSync("go", ["build", "-o", partial, source], {
    encoding: "utf8",
    env: { ...process.env, GO111MODULE: "off", GOPATH: "/usr/share/gocode", GOFLAGS: "" }
  })
  if (built.status !== 0) throw new Error(`go build: ${built.stderr}`)
  renameSync(partial, binary)
  return binary
}

const commands = {
  go: () => [buildGo()],
  python: () => ["/usr/bin/python3", "-u", here("./peers/python.py")]
} as const

/** Starts one and waits until it listens. */
export const start = (
  kind: keyof typeof commands,
  config: PeerConfig,
  namespace?: Namespace
): Effect.Effect<Peer, ChildFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const name = config.Name ?? kind
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const [program, args] = inside(namespace?.name, [
          ...commands[kind](),
          JSON.stringify({ ...config, Name: name })
        ])
        return own(spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] }))
      }),
      end
    )
    const line = yield* Effect.callback<string, ChildFailed>((resume) => {
      readline.createInterface({ input: child.stdout }).once("line", (first) => resume(Effect.succeed(first)))
      child.once("exit", () => resume(Effect.fail(new ChildFailed({ child: name, how: "ended before it listened" }))))
    })
    const { port } = JSON.parse(line) as { readonly port: number }
    return { name, address: `${config.Host ?? "127.0.0.1"}:${port}` }
  })
