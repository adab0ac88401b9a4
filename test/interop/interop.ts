/**
 * `npm run interop`: the standard interop cases against servers of other implementations, in plaintext and over TLS.
 *
 * Exit code 0: every case that could run has passed. 1: one failed. 64: bad options.
 */
import { Client, Credentials, Grpc } from "@hawser/grpc"
import { Cause, Effect, Exit, Layer } from "effect"
import { guard } from "../bench/children.ts"
import { type CaseName, cases, type Peer } from "./cases.ts"
import * as Certificates from "./certificates.ts"
import { TestService, UnimplementedService } from "./definition.ts"
import { type Options, parse, usage } from "./options.ts"
import { type Server, type ServerName, servers, start } from "./servers.ts"

class Test extends Client.Service<Test>()("interop/Test", TestService) {}
class Unimplemented extends Client.Service<Unimplemented>()("interop/Unimplemented", UnimplementedService) {}

/** Above the client's own deadline of 15 s, so that its error is the one that is shown. */
const caseTimeout = "20 seconds"

const counts = { cases: 0, passed: 0, failed: 0 }
const skipped: Array<string> = []
const failures: Array<string> = []

const say = (line: string): void => void process.stdout.write(`${line}\n`)

const tell = (where: string, name: CaseName, millis: number, exit: Exit.Exit<unknown, unknown>): void => {
  const ok = Exit.isSuccess(exit)
  counts.cases++
  counts[ok ? "passed" : "failed"]++
  say(`${ok ? "ok    " : "FAILED"} ${where} ${name} (${millis.toFixed(0)} ms)`)
  if (ok) return
  failures.push(`${where} ${name}`)
  say(Cause.pretty(exit.cause).replace(/^/gm, "       "))
}

/** Runs the cases one after the other over one channel, with every default of `Grpc.layer`. */
const runCases = (where: string, names: ReadonlyArray<CaseName>, channel: ReturnType<typeof Grpc.layer>) =>
  Effect.gen(function* () {
    const clients = Layer.mergeAll(Test.layer, Unimplemented.layer).pipe(Layer.provideMerge(channel))
    const context = yield* Layer.build(clients)
    const peer: Peer = yield* Effect.all({ test: Test, unimplemented: Unimplemented, cluster: Grpc.GrpcCluster }).pipe(
      Effect.provide(context)
    )
    for (const name of names) {
      const startedAt = performance.now()
      const exit = yield* Effect.exit(
        Effect.timeout(
          Effect.suspend(() => cases[name](peer)),
          caseTimeout
        )
      )
      tell(where, name, performance.now() - startedAt, exit)
    }
  }).pipe(Effect.scoped)

const against = async (
  name: ServerName,
  certificates: Certificates.Certificates | undefined,
  names: ReadonlyArray<CaseName>
): Promise<void> => {
  const where = `${name} ${certificates === undefined ? "plaintext" : "tls"}`
  let server: Server | undefined
  try {
    server = await start(name, certificates)
    const security =
      certificates === undefined
        ? { credentials: Credentials.insecure }
        : { credentials: Credentials.tls({ ca: certificates.ca }), authority: Certificates.serverName }
    await Effect.runPromise(runCases(where, names, Grpc.layer({ target: `ipv4:${server.address}`, ...security })))
  } catch (error) {
    // No server, no cases: they have all failed.
    for (const one of names) tell(where, one, 0, Exit.fail(error))
  } finally {
    await server?.stop()
  }
}

const skip = (what: string, why: string): void => {
  skipped.push(what)
  say(`skip   ${what}: ${why}`)
}

const main = async (options: Options): Promise<number> => {
  const present = options.servers.filter((name) => {
    const found = servers[name].present()
    if (!found) skip(name, `needs Debian's ${servers[name].packages}`)
    return found
  })
  let certificates: Certificates.Certificates | undefined
  try {
    certificates = Certificates.make()
  } catch (error) {
    for (const name of present) skip(`${name} tls`, `no certificates: ${(error as Error).message}`)
  }
  for (const name of present) {
    await against(name, undefined, options.cases)
    if (certificates !== undefined) await against(name, certificates, options.cases)
  }
  const { cases: all, failed, passed } = counts
  say(`\n${all} cases, ${passed} passed, ${failed} failed${skipped.map((what) => `; skipped: ${what}`).join("")}`)
  if (options.json) say(JSON.stringify({ ...counts, skipped, failures }))
  return failed === 0 ? 0 : 1
}

const parsed = parse(process.argv.slice(2))
if ("problems" in parsed) {
  const { problems } = parsed
  console.error(`interop: ${problems.length} bad option${problems.length === 1 ? "" : "s"}`)
  for (const problem of problems) console.error(`  ${problem}`)
  console.error(usage)
  process.exitCode = 64
} else {
  guard()
  try {
    process.exitCode = await main(parsed.options)
  } catch (error) {
    console.error(error instanceof Error ? error.stack : error)
    process.exitCode = 1
  }
  process.exit()
}
