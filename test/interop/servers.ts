/**
 * The foreign servers: what each needs on this machine, how it is built and how it is started.
 *
 * All of them print `{"port":N}` once they listen on 127.0.0.1, and end when their stdin does: so none outlives a parent
 * that was killed. With the files of a certificate and its key as arguments they speak TLS.
 */
import { spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { own } from "../bench/children.ts"
import type { Certificates } from "./certificates.ts"

export type ServerName = "go" | "python" | "ruby"

interface Kind {
  /** Debian's packages with all that it needs. */
  readonly packages: string
  /** Whether they are here. */
  readonly present: () => boolean
  /** The command line. Throws where the server can't be built. */
  readonly command: () => ReadonlyArray<string>
}

export interface Server {
  readonly address: string
  /** Writes a line to its stdin. */
  readonly say: (line: string) => void
  readonly stop: () => Promise<void>
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const gopath = "/usr/share/gocode"
const runs = (command: string, ...args: ReadonlyArray<string>) => spawnSync(command, args).status === 0

const buildGo = (): string => {
  const source = here("./server/go/main.go")
  const cache = here("../../.cache/interop/")
  const version = spawnSync("go", ["version"], { encoding: "utf8" }).stdout
  const key = createHash("sha256").update(version).update(readFileSync(source)).digest("hex").slice(0, 16)
  const binary = `${cache}go-${key}`
  if (existsSync(binary)) return binary
  mkdirSync(cache, { recursive: true })
  const partial = `${binary}.${process.pid}`
  const built = spawnSync("go", ["build", "-o", partial, source], {
    encoding: "utf8",
    env: { ...process.env, GO111MODULE: "off", GOPATH: gopath, GOFLAGS: "" }
  })
  if (built.status !== 0) throw new Error(`go build: ${built.stderr}`)
  renameSync(partial, binary)
  return binary
}

export const servers: Readonly<Record<ServerName, Kind>> = {
  go: {
    packages: "golang-go golang-google-grpc-dev",
    present: () => runs("go", "version") && existsSync(`${gopath}/src/google.golang.org/grpc`),
    command: () => [buildGo()]
  },
  // By their full paths: version managers put interpreters first that don't see Debian's packages.
  python: {
    packages: "python3-grpcio",
    present: () => runs("/usr/bin/python3", "-c", "import grpc"),
    command: () => ["/usr/bin/python3", "-u", here("./server/python.py")]
  },
  ruby: {
    packages: "ruby-grpc",
    present: () => runs("/usr/bin/ruby", "-e", 'require "grpc"'),
    command: () => ["/usr/bin/ruby", here("./server/ruby.rb")]
  }
}

/** How long a server may take to say its port. */
const startMillis = 20_000

/** Starts it and waits until it listens. */
export const start = async (name: ServerName, certificates: Certificates | undefined): Promise<Server> => {
  const [command = "", ...args] = servers[name].command()
  const tls = certificates === undefined ? [] : [certificates.certFile, certificates.keyFile]
  const child = own(spawn(command, [...args, ...tls], { stdio: ["pipe", "pipe", "inherit"] }))
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve())
    child.once("error", () => resolve())
  })
  const kill = setTimeout(() => child.kill("SIGKILL"), startMillis)
  const lines = readline.createInterface({ input: child.stdout })
  const first = await new Promise<string | undefined>((resolve) => {
    lines.once("line", resolve)
    void ended.then(() => resolve(undefined))
  })
  clearTimeout(kill)
  if (first === undefined) throw new Error(`the ${name} server ended before it listened`)
  const { port } = JSON.parse(first) as { readonly port: number }
  return {
    address: `127.0.0.1:${port}`,
    say: (line) => void child.stdin.write(`${line}\n`),
    stop: () => {
      child.stdin.end()
      child.kill("SIGKILL")
      return ended
    }
  }
}
