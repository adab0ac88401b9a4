/**
 * A client's own process: runs one closed loop per command and answers with what it cost.
 */
import { clients, type ClientName } from "./clients/clients.ts"
import { Meter } from "./client.ts"
import type { Command, Reply } from "./workers.ts"

const [name, address] = process.argv.slice(2) as [ClientName, string]
const send = (reply: Reply): void => void process.send?.(reply)
const failed = (error: unknown): void =>
  send({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) })

process.once("disconnect", () => process.exit(0))
try {
  const connect = await clients[name]()
  const client = await connect(address)
  process.on("message", ({ concurrency, millis }: Command) => {
    const cpu = process.cpuUsage()
    const startedAt = performance.now()
    const meter = new Meter(millis)
    client
      .run(concurrency, meter)
      .then(() => {
        const { system, user } = process.cpuUsage(cpu)
        const elapsed = performance.now() - startedAt
        send({ calls: meter.calls, cpuMicros: user + system, millis: elapsed, ...meter.percentiles() })
      })
      .catch(failed)
  })
  send({ ready: true })
} catch (error) {
  failed(error)
}
