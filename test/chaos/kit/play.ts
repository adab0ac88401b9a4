/** Plays one scenario, and looks at what every scenario must leave: no socket, no word of the canary. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import type { Client } from "./clients.ts"
import { type Check, isOk, type Scenario, type Stage, type Verdict } from "./scenario.ts"

const cache = fileURLToPath(new URL("../../../.cache/chaos/", import.meta.url))

/** How often the canary is found, as text or as the bytes of it are printed. */
const sightings = (canary: string, text: string): number => {
  const bytes = Buffer.from(canary)
  const shapes = [
    canary,
    bytes.toString("hex"),
    bytes.toString("hex").match(/../g)!.join(" "),
    bytes.toString("base64").slice(0, -4)
  ]
  return shapes.reduce((n, shape) => n + text.split(shape).length - 1, 0)
}

/** Removes what failed runs have left. */
export const tidy = (): void => rmSync(cache, { recursive: true, force: true })

export const play = (scenario: Scenario, scale: number, canary: string): Effect.Effect<Verdict, Error> =>
  Effect.scoped(
    Effect.gen(function* () {
      const logs: Array<string> = []
      let ok = false
      const clients: Array<Client> = []
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => {
          mkdirSync(cache, { recursive: true })
          return mkdtempSync(`${cache}${scenario.id}-`)
        }),
        // What failed can be looked at until the next run.
        (path) => Effect.sync(() => ok && rmSync(path, { recursive: true, force: true }))
      )
      const stage: Stage = {
        scale,
        canary,
        folder,
        clients,
        log: () => {
          const log = `${folder}/client-${logs.length + 1}.log`
          logs.push(log)
          return log
        }
      }
      const verdict = yield* Effect.scoped(
        scenario.play(stage).pipe(Effect.tap(() => Effect.forEach(clients, ({ close }) => close)))
      )
      const left = yield* Effect.forEach(clients, ({ close }) => close)
      const shown = logs
        .flatMap((log) => [log, `${log}.out`].filter(existsSync))
        .map((path) => readFileSync(path, "utf8"))
      const general: ReadonlyArray<Check> = [
        { what: "sockets left", value: left.reduce((n, { sockets }) => n + sockets, 0), most: 0 },
        { what: "secrets shown", value: shown.reduce((n, text) => n + sightings(canary, text), 0), most: 0 },
        { what: "bytes searched", value: shown.reduce((n, text) => n + text.length, 0), least: 1_000 }
      ]
      const whole = { ...verdict, checks: [...verdict.checks, ...general] }
      ok = isOk(whole)
      return whole
    })
  )
