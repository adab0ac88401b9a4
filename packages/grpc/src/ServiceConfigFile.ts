/**
 * A file as text: no more of it than a service config may have, and UTF-8 or nothing.
 */
import { OptionsError } from "@hawser/core/OptionsError"
import * as Effect from "effect/Effect"
import { createReadStream } from "node:fs"
import { maxLength } from "./ServiceConfigJson.ts"

/** Reads a file. Its path is that of the problem, should there be one. */
export const read = (path: string): Effect.Effect<string, OptionsError> =>
  Effect.tryPromise({
    try: async (signal) => {
      const decoder = new TextDecoder("utf-8", { fatal: true })
      let text = ""
      // One byte more than is read, so that what is too long is seen to be.
      for await (const part of createReadStream(path, { end: maxLength, signal })) {
        text += decoder.decode(part as Uint8Array, { stream: true })
      }
      return text + decoder.decode()
    },
    catch: (cause) => {
      const why = cause instanceof Error ? cause.message : String(cause)
      return new OptionsError({ issues: [{ path, rule: "a file of UTF-8 text", value: why }] })
    }
  })
