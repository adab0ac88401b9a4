/**
 * An outlier detector over members that are nothing but names, on a clock that a test sets.
 */
import { Ejection } from "@hawser/core/Ejection"
import type { Event } from "@hawser/core/Event"
import type { Outcome } from "@hawser/core/Outcome"
import type { Outlier } from "@hawser/core/Outlier"
import { OutlierDetector, type Subject } from "@hawser/core/OutlierDetector"

/** What may differ. */
export interface OutliersOptions {
  readonly random?: () => number
  readonly panic?: () => boolean
}

/** A detector and its members, `e0` to `e(n-1)`. */
export const outliers = (policy: Outlier, n: number, options: OutliersOptions = {}) => {
  const time = { now: 0 }
  const events: Array<Event> = []
  let changed = 0
  const subject = (name: string): Subject => ({ name, upstream: {}, record: undefined })
  let subjects = Array.from({ length: n }, (_, i) => subject(`e${i}`))
  const ejection = new Ejection(policy.maximumEjected, () => subjects.map((s) => s.upstream))
  const detector = new OutlierDetector({
    policy,
    ejection,
    tiers: () => [subjects],
    panic: options.panic ?? (() => false),
    random: options.random ?? (() => 0),
    now: () => time.now,
    publish: (event) => events.push(event),
    changed: () => changed++
  })
  const at = (i: number): Subject => subjects[i]!
  const done = (i: number, outcome: Outcome, times = 1, millis = 0) => {
    for (let k = 0; k < times; k++) detector.completed(at(i), outcome, time.now - millis, millis)
  }
  return {
    at,
    detector,
    done,
    ejection,
    events,
    time,
    changes: () => changed,
    /** What each did in this interval: successes and failures. */
    report: (...tallies: ReadonlyArray<readonly [number, number]>) => {
      tallies.forEach(([successes, failures], i) => {
        // Failures first and apart from one another, so that only their number counts.
        for (let k = 0; k < Math.max(successes, failures); k++) {
          if (k < failures) done(i, "Failure")
          if (k < successes) done(i, "Success")
        }
      })
    },
    /** Lets so many milliseconds pass, and ticks. */
    pass: (millis: number, deafMillis = 0) => {
      time.now += millis
      detector.tick(time.now, deafMillis)
    },
    /** Who is ejected, by number. */
    out: () => subjects.flatMap((s, i) => (s.record?.verdict?.ejected === true ? [i] : [])),
    /** The rules of the ejections, in order. */
    rules: () => events.flatMap((e) => (e._tag === "Ejected" ? [e.rule] : [])),
    remove: (i: number) => {
      const gone = at(i)
      subjects = subjects.filter((s) => s !== gone)
      detector.removed(gone)
      detector.updated()
    }
  }
}

/** Calls that all succeed, and one member's that do not. */
export const allBut = (
  n: number,
  calls: number,
  bad: Readonly<Record<number, number>>
): Array<readonly [number, number]> =>
  Array.from({ length: n }, (_, i) => [calls - (bad[i] ?? 0), bad[i] ?? 0] as const)
