/**
 * Ten servers and one client that is given calls at a steady rate, whether or not it answers them: a client that waits
 * for its answers would hide what it makes others wait for.
 */
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { own } from "./children.ts"
import type { Built } from "./server/build.ts"
import { type Server, start } from "./server/start.ts"

export const count = 10

/** Calls at a rate, for a while; those of the first `leadMillis` are made and not counted. */
export interface Offer {
  readonly perSecond: number
  readonly millis: number
  readonly leadMillis: number
}

/** What became of them. */
export interface Outcome {
  readonly calls: number
  readonly answered: number
  /** By this client itself, unsent, with the reason that says so. */
  readonly refused: number
  /** In any other way, by the tags of their reasons. */
  readonly failed: Readonly<Record<string, number>>
  /** Answers per second in the second half of the time. */
  readonly answersPerSecond: number
  /** Of the calls that were answered, from when each was due. */
  readonly p50: number
  readonly p99: number
}

/** What the client is made with, beside its target. */
export interface Setup {
  readonly retry?: false
  readonly connections?: { readonly max: number; readonly streamsPerConnection: number }
  readonly queue?: { readonly max: number }
}

export interface OfferedClient {
  readonly offer: (offer: Offer) => Promise<Outcome>
  readonly stop: () => void
}

export const startAll = (built: Built): Promise<ReadonlyArray<Server>> =>
  Promise.all(Array.from({ length: count }, () => start(built, 0)))

const file = fileURLToPath(new URL("./offered.ts", import.meta.url))

/** A client in a process of its own, connected to all of them. */
export const connectAll = async (servers: ReadonlyArray<Server>, setup: Setup = {}): Promise<OfferedClient> => {
  const target = `ipv4:${servers.map(({ address }) => address).join(",")}`
  const child = own(fork(file, [JSON.stringify({ target, ...setup })]))
  const reply = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const ended = (code: number | null): void => reject(new Error(`the client ended with ${code}`))
      child.once("exit", ended)
      child.once("message", (message) => {
        child.off("exit", ended)
        resolve(message)
      })
    })
  await reply()
  return {
    offer: async (offer) => {
      const outcome = reply()
      child.send(offer)
      return (await outcome) as Outcome
    },
    stop: () => child.disconnect()
  }
}
