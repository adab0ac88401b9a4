/**
 * The one error for options that can't be honoured.
 *
 * It lists every problem at once, each with the path, the rule and the value, so that a configuration is mended in one
 * go. Nothing is ever ignored, clamped or guessed in silence.
 */
import * as Data from "effect/Data"

/** One problem: where it is, what the rule says, and the value found there. */
export interface OptionsIssue {
  readonly path: string
  readonly rule: string
  readonly value: string
}

/**
 * Options that break a rule. It carries all the problems, not the first one.
 *
 * **Details**: raised before anything is acquired. No socket is open when it is seen.
 *
 * **Example** (What it prints)
 *
 * ```ts import.meta.vitest
 * import { OptionsError } from "@hawser/core"
 *
 * const error = new OptionsError.OptionsError({
 *   issues: [{ path: "connections.max", rule: "an integer from 1 to 1000", value: "NaN" }]
 * })
 * error.message // => "connections.max: expected an integer from 1 to 1000, got NaN"
 * ```
 */
export class OptionsError extends Data.TaggedError("OptionsError")<{
  readonly issues: ReadonlyArray<OptionsIssue>
}> {
  override get message(): string {
    return this.issues.map((i) => `${i.path}: expected ${i.rule}, got ${i.value}`).join("\n")
  }
}

/**
 * Collects problems and throws or returns them all together.
 *
 * ```ts import.meta.vitest
 * import { OptionsError } from "@hawser/core"
 *
 * const issues = new OptionsError.Issues()
 * issues.check(Number.isInteger(1.5), "retries", "an integer", 1.5) // => false
 * issues.check(false, "target", "an address", "")
 * issues.list.length // => 2
 * let message = ""
 * try { issues.throwIfAny() } catch (e) { message = (e as OptionsError.OptionsError).message }
 * message // => 'retries: expected an integer, got 1.5\ntarget: expected an address, got ""'
 * ```
 */
export class Issues {
  readonly list: Array<OptionsIssue> = []

  /** Adds a problem unless `ok` holds. Returns `ok`. */
  check(ok: boolean, path: string, rule: string, value: unknown): boolean {
    if (!ok) this.list.push({ path, rule, value: show(value) })
    return ok
  }

  /** Throws the collected problems, if there are any. */
  throwIfAny(): void {
    if (this.list.length > 0) throw new OptionsError({ issues: this.list })
  }
}

/**
 * A one-line rendering of any value, cut after 80 characters; never throws.
 *
 * ```ts import.meta.vitest
 * import { OptionsError } from "@hawser/core"
 *
 * OptionsError.show({ max: 3, min: 5 }) // => '{"max":3,"min":5}'
 * OptionsError.show("a".repeat(10_000)).length // => 83
 * OptionsError.show({ n: 1n }) // => "[object Object]"
 * ```
 */
export const show = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value)
  if (typeof value === "object" && value !== null) {
    try {
      const text = JSON.stringify(value) ?? String(value)
      return text.length > 80 ? `${text.slice(0, 80)}…` : text
    } catch {
      return Object.prototype.toString.call(value)
    }
  }
  return String(value)
}
