import { assert, describe, it } from "@effect/vitest"
import { Deadline } from "@hawser/grpc"
import { Cause, Clock, Duration, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { call, scripted } from "../../support/channels.ts"

const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)
const left = Effect.map(Deadline.remaining, Duration.toMillis)

describe("millisOf", () => {
  it.each<readonly [unknown, number]>([
    [5, 5],
    ["2 seconds", 2000],
    [Duration.minutes(1), 60_000],
    [{ seconds: 1 }, 1000],
    ["Infinity", Infinity],
    [NaN, NaN],
    ["soon", NaN],
    ["5", NaN],
    [null, NaN],
    [undefined, NaN],
    [new Date(NaN), NaN],
    [{}, NaN],
    [{ second: 1 }, NaN],
    [{ seconds: NaN }, NaN],
    [{ seconds: 1, milliseconds: undefined }, 1000],
    [[1, 500_000_000], 1500],
    [[NaN, 0], NaN],
    [[], NaN]
  ])("of %o is %d", (input, millis) => {
    assert.deepStrictEqual(Deadline.millisOf(input), millis)
  })
  it.each([
    [0, false],
    [-1, false],
    [NaN, false],
    [1e-6, true],
    [24 * 86_400_000, true],
    [24 * 86_400_000 + 1, false],
    [Infinity, false]
  ])("%d is a time for a call: %s", (millis, is) => {
    assert.strictEqual(Deadline.isMillis(millis), is)
  })
})

describe("within", () => {
  it.effect("is a moment: what is left shrinks with time, and stays at zero", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* left, 1000)
      yield* TestClock.adjust("300 millis")
      assert.strictEqual(yield* left, 700)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* left, 0)
    }).pipe(Deadline.within("1 second"))
  )

  it.effect("takes the earliest of nested ones, either way round", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* left.pipe(Deadline.within("1 second"), Deadline.within("2 seconds")), 1000)
      assert.strictEqual(yield* left.pipe(Deadline.within("2 seconds"), Deadline.within("1 second")), 1000)
      assert.strictEqual(yield* Deadline.within(left, Duration.infinity), Infinity)
      assert.strictEqual(yield* left, Infinity)
    })
  )

  it.effect("begins when it runs, not when it is made", () =>
    Effect.gen(function* () {
      const program = Deadline.within(left, "1 second")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* program, 1000)
      assert.strictEqual(
        yield* Deadline.within(
          Effect.map(Deadline.current, (at) => at),
          "1 second"
        ),
        (yield* now) + 1000
      )
    })
  )

  it.effect.each([NaN, "soon", undefined, {}])("is a defect with an OptionsError for %o", (input) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Deadline.within(Effect.void, input as number))
      assert.isTrue(Exit.isFailure(exit))
      if (Exit.isFailure(exit)) assert.include(String(Cause.squash(exit.cause)), "OptionsError")
    })
  )
})

describe("adopt", () => {
  const wall = Clock.currentTimeMillis
  const start = 1_800_000_000_000

  it.effect("takes what grpc-js tells a server: a Date, milliseconds since 1970, or Infinity", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      assert.strictEqual(yield* Deadline.adopt(left, new Date(start + 700)), 700)
      assert.strictEqual(yield* Deadline.adopt(left, start + 700), 700)
      assert.strictEqual(yield* Deadline.adopt(left, Infinity), Infinity)
    })
  )

  it.effect("never extends what is ambient, and is never extended by what is inside", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const later = start + 5_000
      assert.strictEqual(yield* left.pipe(Deadline.adopt(later), Deadline.within("1 second")), 1_000)
      assert.strictEqual(yield* left.pipe(Deadline.within("1 minute"), Deadline.adopt(later)), 5_000)
      assert.strictEqual(yield* left.pipe(Deadline.adopt(Infinity), Deadline.adopt(later)), 5_000)
      assert.strictEqual(yield* left.pipe(Deadline.adopt(later), Deadline.adopt(new Date(start + 2))), 2)
    })
  )

  it.effect("is converted once: the wall clock may step in either direction", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      yield* Effect.gen(function* () {
        const at = yield* Deadline.current
        yield* TestClock.setTime(start - 3_600_000)
        assert.strictEqual(yield* left, 1_000)
        yield* TestClock.adjust("400 millis")
        assert.strictEqual(yield* left, 600)
        assert.strictEqual(yield* Deadline.current, at)
      }).pipe(Deadline.adopt(start + 1_000))
      // Time of the clock of tests that is set forward has passed.
      yield* Effect.gen(function* () {
        yield* TestClock.setTime((yield* wall) + 3_600_000)
        assert.strictEqual(yield* left, 0)
      }).pipe(Deadline.adopt((yield* wall) + 1_000))
    })
  )

  it.effect("is converted when it runs, not when it is made", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const handler = Deadline.adopt(left, start + 1_000)
      yield* TestClock.adjust("300 millis")
      assert.strictEqual(yield* handler, 700)
    })
  )

  it.effect.each([0, -1, -Infinity, -8.64e15])("that passed %d ms before now fails a call at once, unsent", (offset) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { channel, seen } = scripted()
      const limited = Deadline.withDefault(channel, Deadline.none)
      const error = yield* Effect.flip(Deadline.adopt(limited.unary(call()), start + offset))
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase: "Queued", by: "Us" })
      assert.strictEqual(error.progress, "NotSent")
      assert.lengthOf(seen, 0)
    })
  )

  it.effect.each([NaN, new Date(NaN), "2026-11-20", undefined, null, 5n, {}])("is a defect for %o", (input) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Deadline.adopt(Effect.void, input as number))
      assert.isTrue(Exit.isFailure(exit))
      if (Exit.isFailure(exit)) {
        assert.include(String(Cause.squash(exit.cause)), "adopt: expected a Date, or milliseconds since 1970")
      }
    })
  )
})

describe("withDefault", () => {
  // default, ambient and own in milliseconds, and what is sent.
  const table: ReadonlyArray<readonly [string, number | undefined, number | undefined, number | undefined, number]> = [
    ["the default where nothing else is said", 15_000, undefined, undefined, 15_000],
    ["the call's own over the default, shorter", 15_000, undefined, 100, 100],
    ["the call's own over the default, longer", 15_000, undefined, 60_000, 60_000],
    ["the ambient one where it is earlier than the default", 15_000, 500, undefined, 500],
    ["the default where it is earlier than the ambient one", 15_000, 60_000, undefined, 15_000],
    ["the ambient one where it is earlier than the call's own", 15_000, 500, 60_000, 500],
    ["the call's own where it is earlier than the ambient one", 15_000, 500, 100, 100],
    ["none, where the call says so", 15_000, undefined, Infinity, Infinity],
    ["the ambient one although the call says none", 15_000, 500, Infinity, 500],
    ["none, where that is the default", undefined, undefined, undefined, Infinity],
    ["the ambient one where there is no default", undefined, 500, undefined, 500],
    ["the call's own where there is no default", undefined, undefined, 100, 100]
  ]
  it.effect.each(table)("sends %s", ([, limit, ambient, own, expected]) =>
    Effect.gen(function* () {
      yield* TestClock.adjust("1 hour")
      const start = yield* now
      const { channel, seen } = scripted()
      const sent = Deadline.withDefault(channel, limit ?? Deadline.none).unary(
        call({ deadline: own === undefined ? undefined : start + own })
      )
      yield* ambient === undefined ? sent : Deadline.within(sent, ambient)
      assert.strictEqual(seen[0]?.deadline, start + expected)
    })
  )

  it.effect("spans what comes after it: a later attempt has the same moment", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted()
      const limited = Deadline.withDefault(channel, "1 second")
      yield* Deadline.within(
        Effect.gen(function* () {
          yield* limited.unary(call())
          yield* TestClock.adjust("300 millis")
          yield* limited.unary(call())
        }),
        "500 millis"
      )
      assert.strictEqual(seen[0]?.deadline, seen[1]?.deadline)
    })
  )

  it.effect.each([
    ["of the call", 0],
    ["of the call, long ago", -1000],
    ["that is no number", NaN]
  ] as const)("fails a call whose deadline %s has passed, without sending it", ([, offset]) =>
    Effect.gen(function* () {
      yield* TestClock.adjust("1 minute")
      const { channel, seen } = scripted()
      const one = call({ deadline: (yield* now) + offset })
      const error = yield* Effect.flip(Deadline.withDefault(channel, "1 second").unary(one))
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase: "Queued", by: "Us" })
      assert.strictEqual(error.progress, "NotSent")
      assert.strictEqual(error.attempts, 0)
      assert.lengthOf(seen, 0)
    })
  )

  it.effect.each(["0 seconds", "-1 seconds"] as const)("fails a call within %s at once", (limit) =>
    Effect.gen(function* () {
      const { channel, seen } = scripted()
      const error = yield* Effect.flip(Deadline.within(Deadline.withDefault(channel, "1 second").unary(call()), limit))
      assert.strictEqual(error.reason._tag, "DeadlineExceeded")
      assert.lengthOf(seen, 0)
    })
  )

  it.each([0, -1, NaN, Infinity, "25 days", "soon"] as const)("refuses a default of %s", (limit) => {
    assert.throws(
      () => Deadline.withDefault(scripted().channel, limit as number),
      /deadline: expected a duration above 0/
    )
  })
})

describe("idle", () => {
  const collect = Effect.fnUntraced(function* <E>(stream: Stream.Stream<number, E>) {
    const seen: Array<number> = []
    const read = Stream.runForEach(stream, (n) => Effect.sync(() => seen.push(n)))
    return { seen, fiber: yield* Effect.forkChild(Effect.exit(read)) }
  })

  it.effect("fails when nothing comes for that long, and stops what feeds the stream", () =>
    Effect.gen(function* () {
      let stopped = 0
      const silent = Stream.ensuring(
        Stream.concat(Stream.make(1), Stream.never),
        Effect.sync(() => stopped++)
      )
      const { fiber, seen } = yield* collect(silent.pipe(Deadline.idle("1 second")))
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      assert.strictEqual(stopped, 0)
      yield* TestClock.adjust("1 millis")
      const error = yield* Effect.flip(Effect.flatten(Fiber.join(fiber)))
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase: "Receiving", by: "Us" })
      assert.deepInclude(error, { progress: "Answered", method: "" })
      assert.deepStrictEqual(seen, [1])
      assert.strictEqual(stopped, 1)
    })
  )

  it.effect("does not claim an answer before the first element, in any run of the stream", () =>
    Effect.gen(function* () {
      let runs = 0
      const once = Stream.suspend(() => (runs++ === 0 ? Stream.concat(Stream.make(1), Stream.never) : Stream.never))
      const limited = once.pipe(Deadline.idle("1 second"))
      for (const [phase, progress] of [
        ["Receiving", "Answered"],
        ["Sent", "MaybeProcessed"]
      ] as const) {
        const { fiber } = yield* collect(limited)
        yield* TestClock.adjust("1 second")
        const error = yield* Effect.flip(Effect.flatten(Fiber.join(fiber)))
        assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase, by: "Us" })
        assert.strictEqual(error.progress, progress)
        assert.isFalse(error.isUnsent)
      }
    })
  )

  it.effect("names the method that it is told", () =>
    Effect.gen(function* () {
      const method = "/demo.Greeter/Watch"
      const { fiber } = yield* collect(Stream.never.pipe(Deadline.idle("1 second", { method })))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Effect.flip(Effect.flatten(Fiber.join(fiber)))).method, method)
    })
  )

  it.effect("starts anew with each element, and lets the end and the stream's own error through", () =>
    Effect.gen(function* () {
      const slow = Stream.fromEffectRepeat(Effect.as(Effect.sleep("900 millis"), 1))
      const ended = yield* collect(slow.pipe(Stream.take(5), Deadline.idle("1 second")))
      const failing = yield* collect(
        slow.pipe(Stream.take(5), Stream.concat(Effect.fail("lost").pipe(Stream.fromEffect)), Deadline.idle("1 second"))
      )
      yield* TestClock.adjust("4500 millis")
      assert.deepStrictEqual(yield* Fiber.join(ended.fiber), Exit.void)
      assert.deepStrictEqual(yield* Fiber.join(failing.fiber), Exit.fail("lost"))
      assert.lengthOf(ended.seen, 5)
    })
  )

  it.effect("does not count the time that its reader takes", () =>
    Effect.gen(function* () {
      const read = Stream.fromIterable([1, 2, 3]).pipe(
        Stream.rechunk(1),
        Deadline.idle("1 second"),
        Stream.runForEach(() => Effect.sleep("10 seconds"))
      )
      const fiber = yield* Effect.forkChild(Effect.exit(read))
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.void)
    })
  )

  it.effect("counts anew for each run of the stream", () =>
    Effect.gen(function* () {
      const limited = Stream.never.pipe(Deadline.idle("1 second"))
      for (let i = 0; i < 2; i++) {
        const { fiber } = yield* collect(limited)
        yield* TestClock.adjust("999 millis")
        assert.strictEqual(fiber.pollUnsafe(), undefined)
        yield* TestClock.adjust("1 millis")
        assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      }
    })
  )

  it.effect("is interrupted with its reader", () =>
    Effect.gen(function* () {
      let stopped = 0
      const silent = Stream.ensuring(
        Stream.never,
        Effect.sync(() => stopped++)
      )
      const { fiber } = yield* collect(silent.pipe(Deadline.idle("1 second")))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(stopped, 1)
    })
  )

  it.each([0, -1, NaN, Infinity, "25 days", "soon"] as const)("refuses %s", (limit) => {
    assert.throws(() => Deadline.idle(limit as number), /idle: expected a duration above 0/)
  })
})
