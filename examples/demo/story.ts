/** The story: eight phases, each with what happens to the servers when it begins. Every fault is undone by the next phase. */
import * as Effect from "effect/Effect"
import type { ChildFailed } from "./processes.ts"
import type { ServerName, Stage } from "./stage.ts"

type Act = Effect.Effect<void, ChildFailed>

export interface Phase {
  readonly name: string
  /** Of the story's length. */
  readonly weight: number
  readonly what: string
  /** The server that is about to be signalled: its calls in flight are counted just before. */
  readonly victim?: ServerName
  /** The outer effect prepares, so that the inner one takes no time. */
  readonly begin: (stage: Stage) => Effect.Effect<Act, ChildFailed>
}

const now = (act: (stage: Stage) => Act) => (stage: Stage) => Effect.succeed(act(stage))

// Kill, freeze and silence hit different servers, so that each one of them has to be given up and taken back.
export const story: ReadonlyArray<Phase> = [
  { name: "calm", weight: 1, what: "three servers answer in 5 ms", begin: now(() => Effect.void) },
  {
    name: "killed",
    weight: 1,
    what: "server a is killed (SIGKILL): its port refuses connections",
    victim: "a",
    begin: now((stage) => stage.kill("a"))
  },
  { name: "restarted", weight: 1, what: "server a is back on its port", begin: now((stage) => stage.start("a")) },
  {
    name: "frozen",
    weight: 2,
    what: "server b is stopped (SIGSTOP): its connections stay open and nobody answers",
    victim: "b",
    begin: now((stage) => stage.freeze("b"))
  },
  { name: "thawed", weight: 1, what: "server b goes on (SIGCONT)", begin: now((stage) => stage.thaw("b")) },
  {
    name: "silent",
    weight: 1.5,
    what: "server c is replaced by a listener that accepts and says nothing",
    victim: "c",
    begin: (stage) => stage.silence("c")
  },
  {
    name: "slow",
    weight: 2,
    what: "server c is back; server a takes 50 ms instead of 5",
    begin: now((stage) => Effect.andThen(stage.start("c"), stage.slow("a", 50)))
  },
  { name: "all well", weight: 1.5, what: "server a is quick again", begin: now((stage) => stage.slow("a", 5)) }
]

const whole = story.reduce((sum, phase) => sum + phase.weight, 0)

/** When each phase ends, in milliseconds from the beginning. */
export const boundaries = (seconds: number): ReadonlyArray<number> => {
  let sum = 0
  return story.map((phase) => ((sum += phase.weight) * seconds * 1000) / whole)
}
