/**
 * What is on the heap once everything that can be collected is collected.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { setFlagsFromString } from "node:v8"

/** Closer than this, two readings are the same. */
const sameBytes = 4_096
const mostReadings = 20

// Else the engine throws away code that has not run for a while, and its bytes look like those of what is measured.
setFlagsFromString("--no-flush-bytecode")

/** Reads until nothing is freed any more: finalizers and timers that still run keep what they hold. */
export const settledHeap = async (): Promise<number> => {
  let last = Infinity
  for (let i = 0; i < mostReadings; i++) {
    await sleep(25)
    globalThis.gc?.()
    const now = process.memoryUsage().heapUsed
    if (Math.abs(last - now) <= sameBytes) return now
    last = now
  }
  return last
}

/** Something that is there until it is closed. */
export type Open = () => Promise<{ readonly close: () => Promise<unknown> }>

/** Bytes of heap for each of the `count` that `open` opens. */
export const heapEach = async (count: number, open: Open): Promise<number> => {
  const before = await settledHeap()
  const { close } = await open()
  const bytes = (await settledHeap()) - before
  await close()
  return bytes / count
}
