/**
 * Two clients, three servers, one story: `npm run demo`.
 *
 * The same load goes through Hawser and through a plain grpc-js client while servers are killed, frozen, replaced and
 * slowed down. Exit code 0: Hawser kept its promises. 1: it fell short. 2: the run proves nothing. 64: bad options.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import { direct } from "./director.ts"
import { deadlineMillis } from "./echo.ts"
import { exitCodes, judge } from "./judge.ts"
import { Live } from "./live.ts"
import { parse, usage } from "./options.ts"
import type { Options } from "./options.ts"
import { narrate } from "./plain.ts"
import { Processes } from "./processes.ts"
import type { ChildFailed } from "./processes.ts"
import { makeReport, remarks, table } from "./report.ts"
import type { Played, Report } from "./report.ts"
import { show } from "./screen.ts"

const say = (line: string): void => void process.stdout.write(`${line}\n`)

const play = (options: Options): Effect.Effect<{ played: Played; report: Report }, ChildFailed> =>
  Effect.gen(function* () {
    const processes = yield* Processes
    const live = new Live(options)
    const terminal = process.stdout.isTTY && process.env.TERM !== "dumb"
    const played = yield* Effect.gen(function* () {
      if (terminal) yield* show(live, process.stdout)
      else narrate(live, say)
      return yield* Effect.raceFirst(direct(live), processes.trouble)
    }).pipe(Effect.scoped)
    const leftover = yield* processes.finish(live.servers().map((server) => server.port))
    return { played, report: makeReport(played, leftover) }
  }).pipe(Effect.provide(Processes.layer))

const conclude = (options: Options, played: Played, report: Report): number => {
  const verdict = judge(report)
  const words =
    verdict.tag === "good"
      ? ["Hawser kept its promises."]
      : [
          verdict.tag === "void" ? "This run proves nothing:" : "Hawser fell short:",
          ...verdict.lines.map((line) => `  ${line}`)
        ]
  for (const line of ["", ...table(report), "", ...remarks(played), ...words]) say(line)
  if (options.json) say(JSON.stringify(report))
  return exitCodes[verdict.tag]
}

const run = (options: Options): Effect.Effect<void> =>
  Effect.suspend(() => {
    say(
      `Two clients, three servers: ${options.rps} calls/s each on schedule, deadline ${deadlineMillis / 1000} s, ` +
        `${options.seconds} s`
    )
    return play(options)
  }).pipe(
    Effect.map(({ played, report }) => conclude(options, played, report)),
    Effect.catchTag("ChildFailed", (failed) =>
      Effect.sync(() => {
        process.stderr.write(`The demo broke off: ${failed.message}\n`)
        return failed.child === "hawser" ? exitCodes.short : exitCodes.void
      })
    ),
    Effect.map((code) => void (process.exitCode = code))
  )

const parsed = parse(process.argv.slice(2))
if (parsed.tag === "mistakes") {
  process.stderr.write(`Bad options:\n${parsed.mistakes.map((mistake) => `  ${mistake}\n`).join("")}\n${usage}\n`)
  process.exitCode = 64
} else if (parsed.options.help) {
  say(usage)
} else {
  // The runtime turns interrupt and termination into an interruption of the program; a closed terminal is one more.
  process.on("SIGHUP", () => process.exit(129))
  NodeRuntime.runMain(run(parsed.options))
}
