/**
 * The bench's side of a client process.
 */
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { own } from "./children.ts"
import type { ClientName } from "./clients/clients.ts"
import type { Sample } from "./pair.ts"

export interface Command {
  readonly concurrency: number
  readonly millis: number
}

export type Reply = Sample | { readonly ready: true } | { readonly error: string }

export interface Worker {
  readonly name: ClientName
  readonly run: (command: Command) => Promise<Sample>
  readonly stop: () => void
}

const file = fileURLToPath(new URL("./worker.ts", import.meta.url))

export const startWorker = async (name: ClientName, address: string): Promise<Worker> => {
  const child = own(fork(file, [name, address]))
  const reply = (): Promise<Reply> =>
    new Promise((resolve, reject) => {
      const ended = (code: number | null): void => reject(new Error(`the client ${name} ended with ${code}`))
      child.once("exit", ended)
      child.once("message", (message: Reply) => {
        child.off("exit", ended)
        if ("error" in message) reject(new Error(`the client ${name} failed: ${message.error}`))
        else resolve(message)
      })
    })
  await reply()
  return {
    name,
    run: async (command) => {
      const answer = reply()
      child.send(command)
      return (await answer) as Sample
    },
    stop: () => child.disconnect()
  }
}
