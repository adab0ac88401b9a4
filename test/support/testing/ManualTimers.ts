import type { Timers } from "@hawser/testing/Timers"
import { VirtualClock } from "@hawser/testing/VirtualClock"

/** Timers that go on when the test says so. */
export class ManualTimers implements Timers {
  readonly clock = new VirtualClock()
  private readonly ready: Array<() => void> = []

  readonly now = (): number => this.clock.now
  readonly soon = (task: () => void): void => void this.ready.push(task)
  readonly after = this.clock.after

  /** Does what can be done without time passing. */
  settle(): void {
    for (let task = this.ready.shift(); task !== undefined; task = this.ready.shift()) task()
  }

  /** Does everything there is, whatever time it takes. */
  finish(): void {
    do this.settle()
    while (this.clock.advance(this.soon))
  }

  /** Does everything there is until a moment, and stays there. */
  until(moment: number): void {
    this.after(moment - this.now(), () => {})
    do this.settle()
    while (this.now() < moment && this.clock.advance(this.soon))
    this.settle()
  }
}
