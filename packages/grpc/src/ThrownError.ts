/**
 * What code that is not ours has thrown, without its words.
 *
 * A codec that can't take a payload mostly quotes it: `JSON.parse` does, validators do. Errors are printed, logged and sent
 * to collectors, and payloads must not be. So the cause of such a failure says what was thrown and where, and keeps the
 * original redacted.
 */
import * as Data from "effect/Data"
import * as Redacted from "effect/Redacted"

/**
 * What was thrown, by its class and its place. The original is in `original`.
 *
 * **When to use**: it is the `cause` of an `RpcError` whose codec threw. Look into `original` where nobody else reads what
 * you print: `Redacted.value(cause.original)`.
 *
 * **Details**: `thrown` is the name of the class of the original, or its type. The stack has the frames of the original
 * where they can be told from its message, and none of its words.
 *
 * **Example** (A codec that quotes what it can't read)
 *
 * ```ts import.meta.vitest
 * import { Redacted } from "effect"
 * import { ThrownError } from "@hawser/grpc"
 *
 * const read = () => {
 *   try {
 *     return JSON.parse('{"card": 4111111111111111')
 *   } catch (original) {
 *     return ThrownError.of("response deserializer", original)
 *   }
 * }
 * const error = read() as ThrownError.ThrownError
 * error.thrown // => "SyntaxError"
 * const [what, why] = error.message.split("; ")
 * what // => "the response deserializer threw a SyntaxError"
 * why // => "its words are redacted, for they may quote the payload"
 * const stack = error.stack ?? ""
 * stack.includes("JSON.parse") // => true
 * const original = Redacted.value(error.original)
 * original instanceof SyntaxError // => true
 * ```
 */
export class ThrownError extends Data.TaggedError("ThrownError")<{
  /** Who threw it: `response deserializer`. */
  readonly by: string
  readonly thrown: string
  readonly original: Redacted.Redacted<unknown>
}> {
  override get message(): string {
    const { by, thrown } = this
    const article = /^[AEIOU]/i.test(thrown) ? "an" : "a"
    return `the ${by} threw ${article} ${thrown}; its words are redacted, for they may quote the payload`
  }
}

/**
 * Makes one of whatever was thrown. Never throws itself.
 *
 * ```ts import.meta.vitest
 * import { ThrownError } from "@hawser/grpc"
 *
 * const error = ThrownError.of("request serializer", "no such field: 4111 1111 1111 1111")
 * error.thrown // => "string"
 * String(error).includes("4111") // => false
 * ```
 */
export const of = (by: string, original: unknown): ThrownError => {
  const error = new ThrownError({ by, thrown: nameOf(original), original: Redacted.make(original) })
  const stack = `ThrownError: ${error.message}${framesOf(original)}`
  Object.defineProperty(error, "stack", { value: stack, configurable: true, writable: true })
  return error
}

/** Names of classes are code; `name` is a field like any other. */
const nameOf = (u: unknown): string => {
  if (typeof u !== "object" || u === null) return u === null ? "null" : typeof u
  try {
    const name: unknown = (Object.getPrototypeOf(u) as { constructor?: { name?: unknown } } | null)?.constructor?.name
    return typeof name === "string" && /^[\w$]{1,60}$/.test(name) ? name : "object"
  } catch {
    return "object"
  }
}

const frame = /^ {4}at .*(?::\d+:\d+|<anonymous>|native)\)?$/

/** The frames of an error, if it is certain where its message ends; empty otherwise. */
const framesOf = (u: unknown): string => {
  try {
    if (!(u instanceof Error) || typeof u.stack !== "string") return ""
    const { message, stack } = u
    const [first = ""] = stack.split("\n", 1)
    // V8 puts the class and the message first; whoever has changed either since keeps the frames to himself.
    const at = message === "" ? (/^[\w$.]+(?:: ?)?$/.test(first) ? first.length : -1) : stack.indexOf(`: ${message}\n`)
    if (at < 0 || (message !== "" && !/^[\w$.]+$/.test(stack.slice(0, at)))) return ""
    const rest = stack.slice(message === "" ? at : at + 2 + message.length)
    const lines = rest.split("\n").filter((line) => frame.test(line))
    return lines.map((line) => `\n${line}`).join("")
  } catch {
    return ""
  }
}
