/** The live view: a second screen that is drawn over, and the terminal as it was afterwards. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { frame } from "./frame.ts"
import type { Live } from "./live.ts"
import { colours, noColours } from "./paint.ts"

const enter = "\u001b[?1049h\u001b[?25l\u001b[?7l"
const leave = "\u001b[?7h\u001b[?25h\u001b[?1049l"
const home = "\u001b[H"
const wholeLine = "\u001b[2K"
const restOfScreen = "\u001b[J"

/** Draws five times a second while its scope is open. */
export const show = Effect.fnUntraced(function* (live: Live, terminal: NodeJS.WriteStream) {
  const paint = (process.env.NO_COLOR ?? "") === "" ? colours : noColours
  const restore = () => void terminal.write(leave)
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      // Not every end runs finalizers.
      process.on("exit", restore)
      terminal.write(enter)
    }),
    () =>
      Effect.sync(() => {
        process.off("exit", restore)
        restore()
      })
  )
  const draw = Effect.sync(() => {
    const lines = frame(live, terminal.columns || 80, terminal.rows || 24, paint)
    terminal.write(home + lines.map((line) => wholeLine + line).join("\r\n") + restOfScreen)
  })
  yield* Effect.forkScoped(Effect.repeat(draw, Schedule.spaced("200 millis")), { startImmediately: true })
})
