/** What a scenario needs that not every machine has. */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"

const runs = (command: string, ...args: ReadonlyArray<string>): boolean => {
  const { error, status } = spawnSync(command, args, { stdio: "ignore" })
  return error === undefined && status === 0
}

/** The library that turns a clock for whoever is started with it, if it is installed. */
export const faketime: string | undefined = ["x86_64", "aarch64"]
  .map((arch) => `/usr/lib/${arch}-linux-gnu/faketime/libfaketime.so.1`)
  .find((path) => existsSync(path))

const gopath = "/usr/share/gocode"

/** Network namespaces that we may make and fill with rules. */
const namespaces = (): boolean => {
  const name = `hawser-${process.pid}-probe`
  const made = process.getuid?.() === 0 && runs("ip", "netns", "add", name)
  const ok = made && runs("ip", "netns", "exec", name, "nft", "list", "ruleset") && runs("ss", "-V")
  if (made) runs("ip", "netns", "del", name)
  return ok
}

const needs = {
  namespaces: { what: "root, iproute2 and nftables", here: namespaces },
  dnsmasq: { what: "dnsmasq-base", here: () => runs("dnsmasq", "--version") },
  haproxy: { what: "haproxy", here: () => runs("haproxy", "-v") },
  nginx: { what: "nginx-light", here: () => runs("nginx", "-v") },
  go: {
    what: "golang-go and golang-google-grpc-dev",
    here: () => runs("go", "version") && existsSync(`${gopath}/src/google.golang.org/grpc`)
  },
  faketime: { what: "libfaketime", here: () => faketime !== undefined },
  // By its full path: version managers put interpreters first that don't see Debian's packages.
  python: { what: "python3-grpcio", here: () => runs("/usr/bin/python3", "-c", "import grpc") }
} as const

export type Need = keyof typeof needs

const known = new Map<Need, boolean>()

/** The packages that are missing, in words; none if all is here. */
export const missing = (wanted: ReadonlyArray<Need>): ReadonlyArray<string> =>
  wanted.flatMap((need) => {
    const here = known.get(need) ?? needs[need].here()
    known.set(need, here)
    return here ? [] : [needs[need].what]
  })
