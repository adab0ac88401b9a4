/**
 * Starts a server process and reads its statistics, one line for one line.
 */
import { spawn } from "node:child_process"
import * as readline from "node:readline"
import { own } from "../children.ts"
import type { Built } from "./build.ts"

export interface Stats {
  readonly atMillis: number
  /** The integral of `running` over time: two readings give the exact mean between them. */
  readonly runningMillis: number
  /** At least so many were running half of the time since the last reading. */
  readonly medianRunning: number
  readonly running: number
  readonly maxRunning: number
  readonly calls: number
  readonly accepted: number
}

export interface Server {
  readonly address: string
  /** One for each listener, `address` the first. */
  readonly addresses: ReadonlyArray<string>
  readonly stats: () => Promise<Stats>
  /** Sets how long the handler takes. */
  readonly delay: (millis: number) => Promise<Stats>
  /** Sets the status that the handler ends with; 0 is OK. */
  readonly fail: (code: number) => Promise<Stats>
  readonly stop: () => void
}

/** `streams` is MAX_CONCURRENT_STREAMS; 0 announces none. */
export const start = async (built: Built, streams: number, listeners = 1): Promise<Server> => {
  const args = [...built.args, `--streams=${streams}`, `--listeners=${listeners}`]
  const child = own(spawn(built.command, args, { stdio: ["pipe", "pipe", "inherit"] }))
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async (): Promise<unknown> => {
    const line = await lines.next()
    if (line.done === true) throw new Error(`the server ended (${built.name})`)
    return JSON.parse(line.value)
  }
  const { ports } = (await next()) as { readonly ports: ReadonlyArray<number> }
  const addresses = ports.map((port) => `127.0.0.1:${port}`)
  const say = (line: string): Promise<Stats> => {
    child.stdin.write(`${line}\n`)
    return next() as Promise<Stats>
  }
  return {
    address: addresses[0]!,
    addresses,
    stats: () => say("stats"),
    delay: (millis) => say(`delay ${millis}`),
    fail: (code) => say(`fail ${code}`),
    stop: () => child.stdin.end()
  }
}
