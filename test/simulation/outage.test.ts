/**
 * Retries must not make an outage worse: what the servers see during one, and after it.
 *
 * The whole client runs on a network in memory, at 1,000 calls per second of virtual time; the servers count. Then ten
 * thousand policies are drawn and played against a channel that fails as it is drawn, and each must keep what it promises.
 * `HAWSER_SEED=123` plays one of those, `HAWSER_SEEDS=100000` so many.
 */
import { assert, describe, it } from "@effect/vitest"
import { RetryBudget, RetryThrottle } from "@hawser/core"
import { Call, Channel, Client, Credentials, Grpc, Metadata, Retry, RpcError } from "@hawser/grpc"
import * as Faults from "@hawser/testing/Faults"
import * as Simulation from "@hawser/testing/Simulation"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import { Cause, Clock, Effect, Exit, Layer, Schedule } from "effect"
import { definition } from "../support/testing/echo.ts"
import { Dice } from "../support/core/prng.ts"

const perSecond = 1_000
const addresses = ["10.0.0.1:50051", "10.0.0.2:50051", "10.0.0.3:50051"] as const

class Echo extends Client.Service<Echo>()("test/Echo", definition, { idempotent: ["say"] }) {}

const millis = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

/** Moments of calls, and of attempts, in milliseconds of virtual time. */
interface Figures {
  readonly calls: ReadonlyArray<number>
  readonly attempts: ReadonlyArray<number>
  readonly failed: ReadonlyArray<number>
}

/** The most of these moments within any so many milliseconds. */
const most = (moments: ReadonlyArray<number>, width: number): number => {
  let first = 0
  let max = 0
  moments.forEach((at, i) => {
    while (moments[first]! <= at - width) first++
    max = Math.max(max, i - first + 1)
  })
  return max
}
const within = (moments: ReadonlyArray<number>, from: number, to: number) =>
  moments.filter((at) => at >= from && at < to)

/** A thousand calls per second for so long; all servers are in trouble from `from` to `to`. */
const outage = async (
  seed: number,
  fault: (address: string) => Faults.Fault,
  { from, length, to }: { readonly from: number; readonly to: number; readonly length: number }
): Promise<Figures> => {
  const calls: Array<number> = []
  const attempts: Array<number> = []
  const failed: Array<number> = []
  const counted = (self: Channel.Channel): Channel.Channel =>
    Channel.intercept(self, (call, next) =>
      Effect.andThen(
        Effect.map(millis, (at) => attempts.push(at)),
        next(call)
      )
    )
  const layer = Echo.layer.pipe(
    Layer.provide(Grpc.layer({ target: `ipv4:${addresses}`, credentials: Credentials.insecure, perAttempt: counted })),
    Layer.provideMerge(
      TestNetwork.layerService(definition, { say: (text) => Effect.as(Effect.sleep(5), text) }, { addresses })
    )
  )
  const program = Effect.gen(function* () {
    const client = yield* Echo
    const trouble = Faults.all(...addresses.map(fault))
    yield* Effect.forkScoped(Effect.andThen(Effect.sleep(from), Faults.during(trouble, to - from)))
    const one = Effect.gen(function* () {
      calls.push(yield* millis)
      const exit = yield* Effect.exit(client.say("ada", { timeout: "5 seconds" }))
      if (Exit.isFailure(exit)) failed.push(yield* millis)
    })
    for (let at = 0; at < length; at++) {
      yield* Effect.forkScoped(one)
      yield* Effect.sleep(1_000 / perSecond)
    }
    yield* Effect.sleep("6 seconds")
  })
  const result = await Simulation.run({ seed, maxSteps: 1e9 }, () => Effect.provide(program, layer))
  if (Exit.isFailure(result.exit)) assert.fail(`seed ${seed}: ${Cause.pretty(result.exit.cause)}`)
  return { calls, attempts, failed }
}

describe("a total outage", () => {
  // The end is no tick of the client: in one and the same millisecond it would see the new connections greet, and not yet
  // the old ones answer, and send again what they hold.
  const times = { from: 5_000, to: 25_017, length: 35_000 }
  // What the servers do, and how soon after its end every call succeeds again.
  const kinds: ReadonlyArray<readonly [string, (address: string) => Faults.Fault, number]> = [
    ["all servers answer Unavailable", (address) => Faults.failCalls(address), 10],
    ["all servers refuse streams", Faults.refuseStreams, 10],
    ["all servers are frozen", Faults.freeze, 10],
    // The next dial may be so far away.
    ["all servers are gone", Faults.kill, 10_000]
  ]
  for (const [name, fault, recovery] of kinds) {
    it(`${name}: few more attempts than calls, and none come together`, { timeout: 300_000 }, async () => {
      for (const seed of [1, 2]) {
        const { attempts, calls, failed } = await outage(seed, fault, times)
        const { from, length, to } = times
        assert.lengthOf(calls, perSecond * (length / 1_000), `seed ${seed}`)
        const during = within(attempts, from, to).length
        assert.isAtMost(during, 1.2 * within(calls, from, to).length + 10 * ((to - from) / 1_000), `seed ${seed}`)
        assert.isAtMost(most(attempts, 10_000), 1.2 * most(calls, 10_000) + 10 * 10, `seed ${seed}: in a window`)
        // The first moment may spend what was saved; nothing comes back together after that, nor with the recovery.
        const later = within(attempts, from + 2_000, Infinity)
        assert.isAtMost(most(later, 1_000), 1.25 * perSecond, `seed ${seed}: in a second`)
        assert.isAtMost(most(within(attempts, to, Infinity), 100), 140, `seed ${seed}: in 100 ms`)
        assert.isAtMost(most(within(attempts, to, Infinity), 10), 25, `seed ${seed}: in 10 ms`)
        assert.lengthOf(within(failed, 0, from), 0, `seed ${seed}`)
        assert.isAbove(within(failed, from, to).length, 10_000, `seed ${seed}: it is one`)
        assert.lengthOf(within(failed, to + recovery, Infinity), 0, `seed ${seed}: recovered`)
      }
    })
  }

  it("calls that fail together do not come back together", async () => {
    const began: Array<Array<number>> = [[], [], []]
    const channel = Channel.make<RpcError.RpcError>({
      unary: ({ attempt, method }) =>
        Effect.andThen(
          Effect.map(millis, (at) => began[attempt - 1]!.push(at)),
          Effect.fail(RpcError.of(method.path, { _tag: "Unavailable", details: "", connect: undefined }, "Answered"))
        )
    })
    const retried = Retry.intercept(Retry.make({ budget: false }))(channel)
    const herd = Effect.forEach(Array.from({ length: 1_000 }), () => Effect.exit(retried.unary(sayAda)), {
      concurrency: "unbounded"
    })
    await Simulation.run({ seed: 1 }, () => herd)
    assert.deepStrictEqual(
      began.map(
        (all) =>
          most(
            all.toSorted((a, b) => a - b),
            1
          ) <= 60
      ),
      [false, true, true]
    )
  })
})

const codec = { encode: (text: string) => Buffer.from(text), decode: String }
const say = { path: "/test.Echo/Say", kind: "unary", ...codec } as const
const sayAda = Call.make<string, string>({ ...say, idempotency: "Idempotent" }, "ada")

describe("any policy", () => {
  interface Attempt {
    readonly at: number
    readonly attempt: number
  }

  /** Draws a policy and thirty calls, plays them, and says what is wrong. */
  const play = async (seed: number): Promise<ReadonlyArray<string>> => {
    const dice = new Dice(seed)
    const ratio = dice.oneOf([0, 0.1, 0.2, 1])
    const minPerSecond = dice.oneOf(ratio === 0 ? [1, 10] : [0, 1, 10])
    const windowSeconds = dice.oneOf([1, 10])
    const paid: Array<number> = []
    const inner = RetryBudget.make({ ratio, minPerSecond, windowSeconds })
    const budget: RetryBudget.RetryBudget | false = dice.chance(0.7) && {
      deposit: (now) => inner.deposit(now),
      balance: (now) => inner.balance(now),
      withdraw: (now) => inner.withdraw(now) && paid.push(now) > 0
    }
    const maxTokens = 1 + dice.below(20)
    const tokenRatio = dice.oneOf([0.001, 0.1, 0.5])
    const throttle = dice.chance(0.5) ? RetryThrottle.make({ maxTokens, tokenRatio }) : undefined
    const isA6 = dice.chance(0.5)
    const maxAttempts = dice.chance(0.15) ? ("unlimited" as const) : 2 + dice.below(6)
    const schedule = dice.oneOf([
      undefined,
      Schedule.spaced(dice.below(50)),
      Schedule.exponential(1 + dice.below(20)),
      Schedule.spaced(5).pipe(Schedule.upTo({ times: dice.below(5) }))
    ])
    const perAttempt = dice.chance(0.3) ? 1 + dice.below(200) : undefined
    const resendable = dice.chance(0.3)
    const retry = isA6
      ? Retry.a6({
          maxAttempts: maxAttempts === "unlimited" ? 50 : maxAttempts,
          initialBackoff: 1 + dice.below(100),
          maxBackoff: 1 + dice.below(1_000),
          backoffMultiplier: 0.5 + 3 * dice.next(),
          retryableStatusCodes: ["UNAVAILABLE", "aborted"],
          throttle,
          budget
        })
      : Retry.make({ maxAttempts, schedule, perAttempt, resendable, throttle, budget })

    const down = dice.next()
    const attempts: Array<Array<Attempt>> = []
    const errors: Array<Array<RpcError.RpcError>> = []
    const begun: Array<number> = []
    const retries: Array<number> = []
    let successes = 0
    const channel = Channel.make<RpcError.RpcError>({
      unary: <I, O>({ attempt, deadline = Infinity, input, method }: Call.Call<I, O>) =>
        Effect.gen(function* () {
          const n = Number(input)
          const at = yield* millis
          const last = attempts[n]!.at(-1)
          if (last !== undefined && attempt > last.attempt) retries.push(at)
          attempts[n]!.push({ at, attempt })
          const takes = dice.below(300)
          const out = at + takes >= deadline
          yield* Effect.sleep(Math.max(0, Math.min(takes, deadline - at)))
          if (!out && dice.chance(1 - down)) {
            successes++
            const message = method.decode(method.encode(input))
            return { message, headers: Metadata.empty, trailers: Metadata.empty, connection: "a#1" }
          }
          const progress = dice.oneOf<RpcError.Progress>(["NotSent", "Refused", "MaybeProcessed", "Answered"])
          const details = ""
          const reason: RpcError.RpcReason = out
            ? { _tag: "DeadlineExceeded", details, phase: "Sent", by: "Us" }
            : dice.oneOf<RpcError.RpcReason>([
                { _tag: "Unavailable", details, connect: undefined },
                { _tag: "Unavailable", details, connect: undefined },
                { _tag: "Aborted", details },
                { _tag: "NotFound", details }
              ])
          const pushed = dice.chance(0.1) ? dice.oneOf(["0", "30", "-1", "x"]) : undefined
          const metadata =
            pushed === undefined ? undefined : Metadata.received(() => [["grpc-retry-pushback-ms", pushed]], undefined)
          const error = RpcError.of(method.path, reason, out ? "MaybeProcessed" : progress, {
            attempts: attempt,
            metadata
          })
          errors[n]!.push(error)
          return yield* error
        })
    })
    const retried = Retry.intercept(retry)(channel)
    const calls = Array.from({ length: 30 }, (_, n) => {
      attempts.push([])
      errors.push([])
      const idempotency = dice.oneOf(["Idempotent", "Unknown"] as const)
      return { n, idempotency, after: dice.below(3_000), limit: dice.chance(0.1) ? Infinity : dice.below(2_000) }
    })
    const one = ({ after, idempotency, limit, n }: (typeof calls)[number]) =>
      Effect.gen(function* () {
        yield* Effect.sleep(after)
        const at = yield* millis
        begun.push(at)
        const call = Call.make<string, string>({ ...say, idempotency }, String(n), { deadline: at + limit })
        yield* Effect.exit(retried.unary(call))
      })
    const { exit } = await Simulation.run({ seed, maxMillis: 1e7 }, () =>
      Effect.forEach(calls, one, { concurrency: "unbounded", discard: true })
    )
    const problems: Array<string> = []
    const check = (ok: boolean, problem: string) => ok || problems.push(problem)
    check(Exit.isSuccess(exit), "it did not end")
    for (const { after, idempotency, limit, n } of calls) {
      const made = attempts[n]!
      const numbers = made.map(({ attempt }) => attempt)
      const top = isA6 ? 5 : maxAttempts !== "unlimited" ? maxAttempts : limit === Infinity ? 5 : Infinity
      check(
        numbers.every((a, i) => a === 1 || a - numbers[i - 1]! <= 1),
        `call ${n}: numbers ${numbers.join()}`
      )
      check(numbers.at(-1)! <= top, `call ${n}: ${numbers.at(-1)} attempts, of ${top}`)
      check(
        made.every(({ at }, i) => i === 0 || at < after + limit),
        `call ${n}: an attempt after its deadline`
      )
      made.slice(1).forEach(({ attempt }, i) => {
        const error = errors[n]![i]!
        const isSafe = error.isUnsent || idempotency === "Idempotent" || isA6 || resendable
        check(isSafe, `call ${n}: sent again after ${error.progress}`)
        const said = error.metadata?.get("grpc-retry-pushback-ms")
        const counts = attempt > numbers[i]!
        check(!counts || said === undefined || /^\d+$/.test(String(said)), `call ${n}: sent again against ${said}`)
        check(counts || (isA6 && error.isUnsent), `call ${n}: sent again without counting`)
      })
      const refused = errors[n]!.filter((e, i) => e.progress === "Refused" && numbers[i + 1] === numbers[i]).length
      check(refused <= 1, `call ${n}: ${refused} transparent retries of refusals`)
    }
    if (budget !== false) {
      check(retries.length <= paid.length, `${retries.length} retries, ${paid.length} paid for`)
      const width = windowSeconds * 1_000
      paid.forEach((at, i) => {
        const within = (moments: ReadonlyArray<number>) => moments.filter((t) => t > at - width && t <= at).length
        const has = ratio * within(begun) + minPerSecond * windowSeconds
        check(within(paid.slice(0, i + 1)) <= has + 1e-9, `more than ${has} retries in the window up to ${at}`)
      })
    }
    if (throttle !== undefined) {
      check(retries.length <= maxTokens / 2 + tokenRatio * successes, `${retries.length} retries against the throttle`)
    }
    return problems
  }

  const only = process.env["HAWSER_SEED"]
  const seeds = Number(process.env["HAWSER_SEEDS"] ?? 10_000)

  it(
    only === undefined ? `keeps its promises, drawn ${seeds} times` : `seed ${only}`,
    { timeout: 3_600_000 },
    async () => {
      const failed: Array<string> = []
      const first = only === undefined ? 1 : Number(only)
      const last = only === undefined ? seeds : first
      for (let seed = first; seed <= last && failed.length < 10; seed++) {
        const problems = await play(seed)
        if (problems.length > 0) failed.push(`seed ${seed}: ${problems.join("; ")}`)
      }
      assert.strictEqual(failed.join("\n"), "")
    }
  )
})
