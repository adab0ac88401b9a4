/**
 * The durations of a service config: `"0.5s"`, as protobuf has them in JSON.
 *
 * The fraction is read as a fraction. A client that takes its digits for nanoseconds turns half a second into five of
 * them, and every call into a `DeadlineExceeded`.
 */
import { maxMillis } from "./Deadline.ts"

const form = /^(\d+)(?:\.(\d{1,9}))?s$/

/** Milliseconds of a JSON duration that is not negative; NaN for anything else. */
export const millisOf = (value: unknown): number => {
  const [, seconds, fraction = ""] = (typeof value === "string" ? form.exec(value) : null) ?? []
  return seconds === undefined ? NaN : Number(seconds) * 1000 + Number(fraction.padEnd(9, "0")) / 1e6
}

/** What is wrong with a duration, and what to write instead; `undefined` when it is right. */
export const problem = (value: unknown, zero: boolean): string | undefined => {
  const millis = millisOf(value)
  if (millis <= maxMillis && (zero ? millis >= 0 : millis > 0)) return undefined
  const rule = `a duration ${zero ? "from 0s" : "above 0s"} to ${maxMillis / 1000}s, such as "0.2s"`
  const meant = Number.isNaN(millis) ? instead(value) : undefined
  return meant === undefined ? rule : `${rule}; write ${meant}`
}

const units: ReadonlyMap<string, number> = new Map([
  ["ns", 1e-6],
  ["us", 1e-3],
  ["ms", 1],
  ["milli", 1],
  ["millisecond", 1],
  ["s", 1_000],
  ["sec", 1_000],
  ["second", 1_000],
  ["m", 60_000],
  ["min", 60_000],
  ["minute", 60_000],
  ["h", 3_600_000],
  ["hour", 3_600_000],
  ["d", 86_400_000],
  ["day", 86_400_000]
])

const instead = (value: unknown): string | undefined => {
  if (typeof value === "number") return either(value)
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const { seconds = 0, nanos = 0 } = value as { seconds?: unknown; nanos?: unknown }
    return written(Number(seconds) * 1000 + Number(nanos) / 1e6)
  }
  if (typeof value !== "string" || value.length > 40) return undefined
  const [, digits, unit] = /^\s*(\d*\.?\d+)\s*([a-z]*)\s*$/i.exec(value) ?? []
  if (digits === undefined || unit === undefined) return undefined
  if (unit === "") return either(Number(digits))
  const factor = units.get(unit.toLowerCase()) ?? units.get(unit.toLowerCase().replace(/s$/, ""))
  return factor === undefined ? undefined : written(Number(digits) * factor)
}

/** A bare number: nobody knows of what. */
const either = (n: number): string | undefined => {
  const [seconds, millis] = [written(n * 1000), written(n)]
  return seconds === undefined || millis === undefined ? seconds : `${seconds} for seconds, ${millis} for milliseconds`
}

const written = (millis: number): string | undefined => {
  if (!(millis > 0 && millis <= maxMillis)) return undefined
  const text = (millis / 1000).toFixed(9).replace(/\.?0+$/, "")
  return text === "0" ? undefined : `"${text}s"`
}
