import type { Dice } from "../core/prng.ts"
import { afterTurns } from "./FlowMoments.ts"

/** Hands on what happens, at once: whoever listens may interrupt in the middle of it. */
export class Signals {
  private readonly listeners = new Set<(what: string) => void>()

  readonly say = (what: string): void => {
    for (const listener of [...this.listeners]) listener(what)
  }

  listen(listener: (what: string) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
}

const signals = (
  "Connecting Connected Disconnected ConnectFailed Closed accepted session stream " +
  "started headers headers status status ended ended"
).split(" ")

/** The latest moment, in turns of the event loop, for those that wait for what may never happen. */
const lastTurn = 150

/** Comes once: after a drawn number of microtasks, of turns, of messages, or in the very turn of a signal. */
export class Moment {
  private come = false
  private left = Infinity
  private readonly thens: Array<() => void> = []
  private unlisten: () => void = () => {}

  constructor(dice: Dice, from: Signals) {
    switch (
      dice.oneOf(["now", "microtasks", "turns", "turns", "turns", "turns", "messages", "signal", "signal", "signal"])
    ) {
      case "now":
        this.reach()
        break
      case "microtasks":
        this.microtasks(dice.below(25))
        break
      case "turns":
        afterTurns(dice.below(60), this.reach)
        break
      case "messages":
        this.left = dice.below(12)
        break
      default: {
        const what = dice.oneOf(signals)
        let left = dice.below(4)
        this.unlisten = from.listen((said) => {
          if (said === what && left-- === 0) this.reach()
        })
      }
    }
    afterTurns(dice.below(lastTurn), this.reach)
  }

  readonly reach = (): void => {
    if (this.come) return
    this.come = true
    this.unlisten()
    for (const then of this.thens) then()
  }

  /** A message of the operation went by. */
  readonly message = (): void => {
    if (this.left-- <= 0) this.reach()
  }

  /** Runs in the turn of the moment. */
  when(f: () => void): void {
    if (this.come) f()
    else this.thens.push(f)
  }

  private microtasks(n: number): void {
    if (n === 0) this.reach()
    else queueMicrotask(() => this.microtasks(n - 1))
  }
}
