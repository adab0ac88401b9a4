import { Effect } from "effect"
import * as assert from "node:assert"
import * as diagnostics from "node:diagnostics_channel"

/** No test may depend on how fast the machine is: so long is waited for what must happen. */
const patienceMillis = 10_000

/** Conditions that somebody announces: looked at on each change, never polled. */
export class Watched {
  private readonly looks = new Set<() => void>()

  /** Something that a condition may depend on has changed. */
  changed(): void {
    for (const look of [...this.looks]) look()
  }

  /** Waits until `ok`; dies when it takes too long, and says what it saw instead. */
  until(what: string, ok: () => boolean, seen: () => unknown = () => ""): Effect.Effect<void> {
    return Effect.callback((resume) => {
      if (ok()) return resume(Effect.void)
      const end = (effect: Effect.Effect<void>) => {
        clearTimeout(timer)
        this.looks.delete(look)
        resume(effect)
      }
      const look = () => {
        if (ok()) end(Effect.void)
      }
      const timer = setTimeout(
        () => end(Effect.die(new Error(`never ${what} ${JSON.stringify(seen())}`))),
        patienceMillis
      )
      timer.unref()
      this.looks.add(look)
      return Effect.sync(() => {
        clearTimeout(timer)
        this.looks.delete(look)
      })
    })
  }
}

/** For conditions that nobody announces, such as the end of a kernel's or a child's work. */
export const eventually = (what: string, ok: () => boolean, seen: () => unknown = () => ""): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const until = performance.now() + patienceMillis
    let timer: NodeJS.Timeout | undefined
    const look = () => {
      if (ok()) resume(Effect.void)
      else if (performance.now() > until) resume(Effect.die(new Error(`never ${what} ${JSON.stringify(seen())}`)))
      else (timer = setTimeout(look, 2)).unref()
    }
    look()
    return Effect.sync(() => clearTimeout(timer))
  })

/** What keeps a process alive: handles and requests of libuv, and timers. Pipes and messages are the test runner's. */
const ours = new Set(
  (
    "TCPSocketWrap TCPServerWrap TCPConnectWrap TLSWrap Timeout Immediate GetAddrInfoReqWrap ShutdownWrap WriteWrap " +
    "ProcessWrap"
  ).split(" ")
)

const resources = (): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) if (ours.has(kind)) counts[kind] = (counts[kind] ?? 0) + 1
  return counts
}

const listening = ["unhandledRejection", "uncaughtException", "exit", "warning"] as const
const listeners = (): ReadonlyArray<number> => listening.map((name) => process.listenerCount(name))

/**
 * Runs a test in a scope of its own. When that has closed, nothing may be left of it: no handle, no timer, no listener on
 * the process, no subscription to Node's diagnostics, and no rejection that nobody handled.
 */
export const leavesNothing = <A, E, R>(test: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = resources()
    const heard = listeners()
    const rejections: Array<unknown> = []
    const onRejection = (reason: unknown) => void rejections.push(reason)
    process.on("unhandledRejection", onRejection)
    yield* Effect.scoped(test).pipe(Effect.ensuring(Effect.sync(() => process.off("unhandledRejection", onRejection))))
    const grown = () => Object.entries(resources()).filter(([kind, n]) => n > (before[kind] ?? 0))
    yield* eventually("free of resources", () => grown().length === 0, grown)
    assert.deepStrictEqual(listeners(), heard)
    assert.strictEqual(diagnostics.channel("net.client.socket").hasSubscribers, false, "a subscription is left")
    assert.deepStrictEqual(rejections, [])
  })
