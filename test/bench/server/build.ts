/**
 * Builds the Go server from the packages that Debian ships (`golang-go`, `golang-google-grpc-dev`), once per source text.
 */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs"
import { fileURLToPath } from "node:url"

const source = fileURLToPath(new URL("./go/main.go", import.meta.url))
const cache = fileURLToPath(new URL("../../../.cache/bench/", import.meta.url))
const gopath = "/usr/share/gocode"

export interface Built {
  readonly name: string
  readonly command: string
  readonly args: ReadonlyArray<string>
}

const fallback = (why: string): Built => ({
  name: `node:http2 (${why}; it may be the bottleneck)`,
  command: process.execPath,
  args: [fileURLToPath(new URL("./http2.ts", import.meta.url))]
})

export const build = (): Built => {
  const go = spawnSync("go", ["version"], { encoding: "utf8" })
  if (go.status !== 0) return fallback("no go here")
  if (!existsSync(`${gopath}/src/google.golang.org/grpc`)) return fallback("no golang-google-grpc-dev here")
  const key = createHash("sha256").update(go.stdout).update(readFileSync(source)).digest("hex").slice(0, 16)
  const binary = `${cache}server-${key}`
  if (!existsSync(binary)) {
    mkdirSync(cache, { recursive: true })
    const partial = `${binary}.${process.pid}`
    const built = spawnSync("go", ["build", "-o", partial, source], {
      encoding: "utf8",
      env: { ...process.env, GO111MODULE: "off", GOPATH: gopath, GOFLAGS: "" }
    })
    if (built.status !== 0) {
      process.stderr.write(built.stderr)
      return fallback("go build failed")
    }
    renameSync(partial, binary)
  }
  return { name: `grpc-go, ${go.stdout.trim().replace(/^go version /, "")}`, command: binary, args: [] }
}
