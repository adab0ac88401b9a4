/**
 * JSON text as a value, with what `JSON.parse` keeps to itself: of two equal keys it takes the last, and says nothing.
 */
import type { OptionsIssue } from "@hawser/core/OptionsError"
import { show } from "@hawser/core/OptionsError"
import * as Result from "effect/Result"

/** So many characters are read; a TXT record has 65,535 at most. */
export const maxLength = 1_048_576

/** A value that was read, and the keys that would be lost in it. */
export interface Read {
  readonly value: unknown
  readonly repeated: ReadonlyArray<OptionsIssue>
}

/** Reads JSON, or says why it is none. `at` is the path of the whole text. */
export const parse = (text: string, at: string): Result.Result<Read, ReadonlyArray<OptionsIssue>> => {
  if (text.length > maxLength) {
    const rule = `at most ${maxLength.toLocaleString("en")} characters of JSON`
    return Result.fail([{ path: at, rule, value: `${text.length.toLocaleString("en")}` }])
  }
  try {
    return Result.succeed({ value: JSON.parse(text), repeated: repeated(text) })
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    return Result.fail([{ path: at, rule: `JSON (${why})`, value: show(text) }])
  }
}

interface Open {
  readonly path: string
  /** Of an object: the keys so far. */
  readonly keys: Set<string> | undefined
  /** Of an array: the place of the element. */
  index: number
}

// Strings, brackets and commas: all that keys depend on in a text that is known to be JSON.
const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}[\],]/g

const repeated = (text: string): Array<OptionsIssue> => {
  const found: Array<OptionsIssue> = []
  const stack: Array<Open> = []
  let path = ""
  for (const { 0: token, 1: colon } of text.matchAll(tokens)) {
    const open = stack.at(-1)
    if (token === "{" || token === "[") {
      stack.push({ path, keys: token === "{" ? new Set() : undefined, index: 0 })
      if (token === "[") path = `${path}[0]`
    } else if (token === "}" || token === "]") {
      path = stack.pop()!.path
    } else if (token === "," && open !== undefined && open.keys === undefined) {
      path = `${open.path}[${++open.index}]`
    } else if (colon !== undefined && open?.keys !== undefined) {
      const key = JSON.parse(token.slice(0, -colon.length)) as string
      path = open.path === "" ? clip(key) : `${open.path}.${clip(key)}`
      if (open.keys.has(key)) found.push({ path, rule: "each key once", value: `${show(key)} again` })
      open.keys.add(key)
    }
  }
  return found
}

/** A key as part of a path: whole, unless it is one that nobody wants to read. */
export const clip = (key: string): string => (key.length > 60 ? `${key.slice(0, 60)}…` : key)
