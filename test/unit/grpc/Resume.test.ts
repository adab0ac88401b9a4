import { assert, describe, it } from "@effect/vitest"
import { RetryBudget } from "@hawser/core"
import { Deadline, Metadata, Resume, RpcError } from "@hawser/grpc"
import { Cause, Clock, Deferred, Effect, Exit, Fiber, Option, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"

const path = "/demo.Log/Tail"
const lost = (metadata?: Metadata.Metadata) =>
  RpcError.of(path, { _tag: "Unavailable", details: "lost", connect: undefined }, "Answered", { metadata })
const denied = RpcError.of(path, { _tag: "PermissionDenied", details: "" }, "Answered")
const pushback = (millis: string) => lost(Metadata.received(() => [["grpc-retry-pushback-ms", millis]], undefined))

type Script = Stream.Stream<number, RpcError.RpcError>

/** A method that does what the script says, call by call; the last one repeats. Keeps requests, moments and ends. */
const scripted = (...scripts: ReadonlyArray<Script>) => {
  const asked: Array<number> = []
  const at: Array<number> = []
  let open = 0
  let most = 0
  const method = (from: number): Script =>
    Stream.unwrap(
      Effect.gen(function* () {
        at.push(yield* Clock.currentTimeMillis)
        asked.push(from)
        // As a call, it is over when its scope is closed.
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            most = Math.max(most, ++open)
          }),
          () => Effect.sync(() => open--)
        )
        return scripts[Math.min(asked.length, scripts.length) - 1]!
      })
    )
  return { method, asked, at, open: () => open, most: () => most }
}

const then = (...messages: ReadonlyArray<number>) => ({
  lost: Stream.concat(Stream.fromIterable(messages), Stream.fail(lost())),
  end: Stream.fromIterable(messages)
})

const next = (last: number | undefined) => Option.some((last ?? 0) + 1)
const every = (schedule: Schedule.Schedule<unknown> = Schedule.spaced("1 second")) => ({ resume: next, schedule })

/** Reads all, in a fiber of its own. */
const collect = Effect.fnUntraced(function* (stream: Script) {
  const seen: Array<number> = []
  const read = Stream.runForEach(stream, (n) => Effect.sync(() => seen.push(n)))
  return { seen, fiber: yield* Effect.forkChild(Effect.exit(read), { startImmediately: true }) }
})

describe("a stream that is resumed", () => {
  it.effect("goes on after the last message, each of which comes once and in order", () =>
    Effect.gen(function* () {
      const { asked, method, most, open } = scripted(then(1, 2, 3).lost, then(4).lost, then(5, 6).end)
      const { fiber, seen } = yield* collect(Resume.stream(method, 1, every()))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen, [1, 2, 3, 4])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.void)
      assert.deepStrictEqual(seen, [1, 2, 3, 4, 5, 6])
      assert.deepStrictEqual(asked, [1, 4, 5])
      assert.strictEqual(most(), 1)
      assert.strictEqual(open(), 0)
    })
  )

  it.effect("remembers the last message of all calls, and says that none came", () =>
    Effect.gen(function* () {
      const lasts: Array<number | undefined> = []
      const { method } = scripted(then().lost, then(7).lost, then().lost, then().end)
      const resume = (last: number | undefined) => {
        lasts.push(last)
        return Option.some(0)
      }
      const { fiber } = yield* collect(Resume.stream(method, 0, { resume, schedule: Schedule.spaced(1) }))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.void)
      assert.deepStrictEqual(lasts, [undefined, 7, 7])
    })
  )

  it.effect("begins anew with each run", () =>
    Effect.gen(function* () {
      const { asked, method } = scripted(then(1).lost, then(2).end, then(1).end)
      const stream = Resume.stream(method, 1, every())
      yield* collect(stream)
      yield* TestClock.adjust("1 second")
      yield* collect(stream)
      assert.deepStrictEqual(asked, [1, 2, 1])
    })
  )

  it.effect("gives up where resume has no request, with the error", () =>
    Effect.gen(function* () {
      const { asked, method } = scripted(then(1).lost)
      const errors: Array<RpcError.RpcError> = []
      const resume = (_: number | undefined, error: RpcError.RpcError) => {
        errors.push(error)
        return Option.none()
      }
      const { fiber } = yield* collect(Resume.stream(method, 1, { ...every(), resume }))
      yield* TestClock.adjust("1 second")
      const error = yield* Effect.flip(Effect.flatten(Fiber.join(fiber)))
      assert.strictEqual(error.reason.details, "lost")
      assert.deepStrictEqual(errors, [error])
      assert.deepStrictEqual(asked, [1])
    })
  )

  it.effect.each([
    ["an error that does not pass", Stream.fail(denied)],
    ["a defect", Stream.die("broken")],
    ["an error beside a defect", Stream.failCause(Cause.combine(Cause.fail(lost()), Cause.die("broken")))]
  ] as const)("passes %s on, at once", ([, failure]) =>
    Effect.gen(function* () {
      const { asked, method } = scripted(Stream.concat(Stream.make(1), failure))
      const { fiber, seen } = yield* collect(Resume.stream(method, 1, every()))
      const exit = yield* Fiber.join(fiber)
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual(exit, yield* Effect.exit(Stream.runDrain(failure)))
      assert.deepStrictEqual(seen, [1])
      assert.deepStrictEqual(asked, [1])
    })
  )

  it.effect("asks retryable where it is given, for errors of any type", () =>
    Effect.gen(function* () {
      let n = 0
      const method = (from: number): Stream.Stream<number, string> =>
        n++ === 0 ? Stream.fail("again") : Stream.concat(Stream.make(from), Stream.fail("no"))
      const stream = Resume.stream(method, 1, {
        resume: (_, error) => Option.some(error.length),
        retryable: (error) => error === "again",
        schedule: Schedule.spaced("1 milli")
      })
      const seen: Array<number> = []
      const fiber = yield* Effect.forkChild(
        Effect.flip(Stream.runForEach(stream, (n) => Effect.sync(() => seen.push(n))))
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), "no")
      assert.deepStrictEqual(seen, [5])
    })
  )

  it.effect("is a defect where resume or the method throws", () =>
    Effect.gen(function* () {
      const broken = () => {
        throw new Error("broken")
      }
      for (const stream of [
        Resume.stream(scripted(then(1).lost).method, 1, { ...every(), resume: broken }),
        Resume.stream(broken as () => Script, 1, every())
      ]) {
        const { fiber } = yield* collect(stream)
        yield* TestClock.adjust("1 second")
        const exit = yield* Fiber.join(fiber)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      }
    })
  )

  it.effect("counts a server that falls silent as lost, with Deadline.idle", () =>
    Effect.gen(function* () {
      const { asked, method, open } = scripted(Stream.concat(Stream.make(1, 2), Stream.never), then(3).end)
      const watched = (from: number) => method(from).pipe(Deadline.idle("30 seconds"))
      const { fiber, seen } = yield* collect(Resume.stream(watched, 1, every()))
      yield* TestClock.adjust("31 seconds")
      assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.void)
      assert.deepStrictEqual(seen, [1, 2, 3])
      assert.deepStrictEqual(asked, [1, 3])
      assert.strictEqual(open(), 0)
    })
  )

  it.effect("goes on for thirty thousand breaks, and keeps nothing of them", () =>
    Effect.gen(function* () {
      const breaks = 30_000
      let calls = 0
      const method = (from: number): Script =>
        ++calls > breaks ? Stream.make(from) : Stream.concat(Stream.make(from), Stream.fail(lost()))
      const stream = Resume.stream(method, 1, { resume: next, schedule: Schedule.spaced(0) })
      const sum = yield* Stream.runFold(
        stream,
        () => 0,
        (sum, n) => sum + n
      )
      assert.strictEqual(sum, ((breaks + 1) * (breaks + 2)) / 2)
    })
  )
})

describe("the schedule", () => {
  it.effect("starts anew after a message, and not after a call without one", () =>
    Effect.gen(function* () {
      const { at, method } = scripted(then().lost, then().lost, then(1).lost, then().lost, then(2).end)
      yield* collect(Resume.stream(method, 1, every(Schedule.exponential("1 second"))))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(at, [0, 1_000, 3_000, 4_000, 6_000])
    })
  )

  it.effect("ends the stream with the last error when it is over", () =>
    Effect.gen(function* () {
      const { asked, method } = scripted(then(1).lost, then().lost)
      const { fiber } = yield* collect(
        Resume.stream(method, 1, every(Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 3 }))))
      )
      yield* TestClock.adjust("1 minute")
      const error = yield* Effect.flip(Effect.flatten(Fiber.join(fiber)))
      assert.strictEqual(error.reason.details, "lost")
      assert.lengthOf(asked, 4)
    })
  )

  it.effect("never ends by default, and spreads", () =>
    Effect.gen(function* () {
      const { at, method } = scripted(then().lost)
      const { fiber } = yield* collect(Resume.stream(method, 1, { resume: next }))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      const waits = at.slice(1).map((moment, i) => moment - at[i]!)
      assert.isAbove(waits.length, 100)
      assert.isTrue(waits.every((wait) => wait >= 80 && wait <= 36_000))
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("gets the error, to choose by it", () =>
    Effect.gen(function* () {
      const { asked, method } = scripted(then().lost)
      const schedule = Schedule.spaced("1 second").pipe(
        Schedule.setInputType<RpcError.RpcError>(),
        Schedule.while(({ input }) => input.reason.details !== "lost")
      )
      const { fiber } = yield* collect(Resume.stream(method, 1, { resume: next, schedule }))
      yield* TestClock.adjust("1 minute")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      assert.lengthOf(asked, 1)
    })
  )

  it.effect("waits as long as the server asks for, once, and not less than it would anyway", () =>
    Effect.gen(function* () {
      const { at, method } = scripted(
        Stream.fail(pushback("5000")),
        Stream.fail(pushback("0")),
        then().lost,
        then(1).end
      )
      yield* collect(Resume.stream(method, 1, every()))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(at, [0, 5_000, 6_000, 7_000])
    })
  )

  it.effect.each(["-1", "soon", ""])("is not asked where the server says %o", (said) =>
    Effect.gen(function* () {
      const { asked, method } = scripted(Stream.fail(pushback(said)))
      const { fiber } = yield* collect(Resume.stream(method, 1, every()))
      assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      assert.lengthOf(asked, 1)
    })
  )
})

describe("the ambient deadline", () => {
  it.effect("ends the stream with the last error where the next wait would pass it, and begins no wait", () =>
    Effect.gen(function* () {
      const { asked, method } = scripted(then(1).lost)
      const { fiber } = yield* Deadline.within(collect(Resume.stream(method, 1, every())), "2500 millis")
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Effect.flip(Effect.flatten(Fiber.join(fiber)))).reason.details, "lost")
      assert.lengthOf(asked, 3)
    })
  )
})

describe("the budget", () => {
  it.effect("is taken from for each new request, and waited for while it is empty", () =>
    Effect.gen(function* () {
      const budget = RetryBudget.make({ ratio: 1, minPerSecond: 0 })
      const { at, method } = scripted(then().lost)
      const { fiber } = yield* collect(Resume.stream(method, 1, { ...every(), budget }))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(at, [0])
      // Two calls of somebody else, who shares it.
      budget.deposit(10_000)
      budget.deposit(10_000)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(at, [0, 11_000, 12_000])
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("that is empty is waited for by the schedule, not by what the server asked for", () =>
    Effect.gen(function* () {
      const budget = RetryBudget.make({ ratio: 1, minPerSecond: 0 })
      const { at, method } = scripted(Stream.fail(pushback("5000")), then(1).end)
      const { fiber } = yield* collect(Resume.stream(method, 1, { ...every(), budget }))
      yield* TestClock.adjust("5 seconds")
      budget.deposit(5_000)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.void)
      assert.deepStrictEqual(at, [0, 6_000])
    })
  )

  it.effect("that stays empty ends the stream with its schedule", () =>
    Effect.gen(function* () {
      const budget = RetryBudget.make({ ratio: 0, minPerSecond: 0.01 })
      const { asked, method } = scripted(Stream.fail(pushback("0")))
      const schedule = Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 5 }))
      const { fiber } = yield* collect(Resume.stream(method, 1, { resume: next, schedule, budget }))
      yield* TestClock.adjust("5 seconds")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      assert.lengthOf(asked, 1)
    })
  )
})

describe("an interrupt", () => {
  it.effect("cancels the call that runs", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const { asked, method, open } = scripted(
        Stream.concat(
          Stream.make(1),
          Stream.fromEffect(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
        )
      )
      const { fiber } = yield* collect(Resume.stream(method, 1, every()))
      yield* Deferred.await(begun)
      assert.strictEqual(open(), 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(open(), 0)
      assert.lengthOf(asked, 1)
    })
  )

  it.effect("ends the wait, with no call left and none to come", () =>
    Effect.gen(function* () {
      const { asked, method, open } = scripted(then(1).lost)
      const { fiber } = yield* collect(Resume.stream(method, 1, every()))
      yield* TestClock.adjust("500 millis")
      assert.strictEqual(open(), 0)
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(asked, 1)
    })
  )

  it.effect("of a reader that has enough cancels the call", () =>
    Effect.gen(function* () {
      const { asked, method, open } = scripted(then(1, 2).lost, Stream.concat(Stream.make(3, 4), Stream.never))
      const { fiber, seen } = yield* collect(Stream.take(Resume.stream(method, 1, every()), 3))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.void)
      assert.deepStrictEqual(seen, [1, 2, 3])
      assert.strictEqual(open(), 0)
      assert.lengthOf(asked, 2)
    })
  )
})

describe("options", () => {
  it("are refused together", () => {
    const wrong = { resume: 1, schedule: "1 second", retryable: true, budget: {}, resumeFrom: 1 }
    assert.throws(
      () => Resume.stream((() => Stream.empty) as never, 1, wrong as never),
      /resume: [^]*schedule: [^]*retryable: [^]*budget: [^]*resumeFrom: expected one of/
    )
    assert.throws(() => Resume.stream(undefined as never, 1, every() as never), /method: expected a function/)
  })
})
