import { assert, describe, it } from "@effect/vitest"
import { OptionsError } from "@hawser/core"
import { Auth, Channel, Deadline, Metadata, Retry, RpcError } from "@hawser/grpc"
import { Cause, Context, Data, Deferred, Duration, Effect, Fiber, Layer, Redacted, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { call, method, scripted } from "../../support/channels.ts"

const secret = "s3cret-token"
const sentOf = (seen: ReadonlyArray<{ readonly metadata: Metadata.Metadata | undefined }>) =>
  seen.map(({ metadata }) => metadata?.get("authorization"))

/** Tokens `t1`, `t2`, …, each good for so long, and how many were fetched. */
const numbered = (timeToLive?: Duration.Input, wait: Effect.Effect<void> = Effect.void) => {
  const state = { fetched: 0 }
  const token = Effect.suspend(() => {
    const n = ++state.fetched
    return Effect.as(wait, { token: Redacted.make(`t${n}`), timeToLive })
  })
  return { state, token }
}

const unauthenticated = RpcError.of(method().path, { _tag: "Unauthenticated", details: "expired" }, "Answered")
const failing = (effect: Effect.Effect<unknown, RpcError.RpcError>) => Effect.flip(effect)

describe("Auth", () => {
  it.effect("puts the token into every call, in the place of what is there", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const authenticated = Auth.intercept(Auth.make({ token: Effect.succeed(Redacted.make(secret)) }))(channel)
      yield* authenticated.unary(call())
      const metadata = Metadata.fromRecord({ authorization: "Basic old", "x-tenant": "acme" })
      yield* authenticated.unary(call({ metadata }))
      assert.deepStrictEqual(sentOf(seen), [`Bearer ${secret}`, `Bearer ${secret}`])
      assert.strictEqual(seen[1]?.metadata?.get("x-tenant"), "acme")
      assert.deepStrictEqual(seen[1]?.metadata?.issues, [])
    })
  )

  it.effect("asks for a token without a time to live for each call, and for others when they expire", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const once = numbered()
      const each = Auth.intercept(Auth.make({ token: once.token }))(channel)
      yield* each.unary(call())
      yield* each.unary(call())
      assert.deepStrictEqual(sentOf(seen.splice(0)), ["Bearer t1", "Bearer t2"])
      const minutes = numbered()
      const kept = Auth.intercept(Auth.make({ token: minutes.token, timeToLive: "10 minutes" }))(channel)
      yield* kept.unary(call())
      yield* kept.unary(call())
      // Idle over the whole time in which it would have been renewed.
      yield* TestClock.adjust("10 minutes")
      yield* kept.unary(call())
      assert.deepStrictEqual(sentOf(seen), ["Bearer t1", "Bearer t1", "Bearer t2"])
    })
  )

  it.effect("does not use a token in its last second", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const { token } = numbered("10 minutes")
      const authenticated = Auth.intercept(Auth.make({ token }))(channel)
      yield* authenticated.unary(call())
      yield* TestClock.adjust(Duration.millis(600_000 - 999))
      yield* authenticated.unary(call())
      assert.deepStrictEqual(sentOf(seen), ["Bearer t1", "Bearer t2"])
    })
  )

  it.effect("renews a token before it expires, once, while calls go on with the old one", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const gate = yield* Deferred.make<void>()
      let fetched = 0
      const token = Effect.suspend(() =>
        Effect.as(++fetched === 1 ? Effect.void : Deferred.await(gate), {
          token: Redacted.make(`t${fetched}`),
          timeToLive: "100 seconds" as const
        })
      )
      const authenticated = Auth.intercept(Auth.make({ token }))(channel)
      yield* authenticated.unary(call())
      yield* TestClock.adjust("69 seconds")
      yield* authenticated.unary(call())
      assert.strictEqual(fetched, 1)
      yield* TestClock.adjust("22 seconds")
      for (let n = 0; n < 5; n++) yield* authenticated.unary(call())
      assert.strictEqual(fetched, 2)
      assert.deepStrictEqual(new Set(sentOf(seen)), new Set(["Bearer t1"]))
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.yieldNow
      yield* authenticated.unary(call())
      assert.strictEqual(sentOf(seen).at(-1), "Bearer t2")
    })
  )

  it.effect("renews at moments that differ from client to client", () =>
    Effect.gen(function* () {
      const moments = new Set<number>()
      for (let client = 0; client < 20; client++) {
        const { channel } = scripted("ok")
        const { state, token } = numbered("100 seconds")
        const authenticated = Auth.intercept(Auth.make({ token }))(channel)
        let second = 0
        while (state.fetched < 2) {
          yield* authenticated.unary(call())
          yield* TestClock.adjust("1 second")
          second++
        }
        assert.isTrue(second >= 70 && second <= 92, `${second}`)
        moments.add(second)
      }
      assert.isAbove(moments.size, 5)
    })
  )

  it.effect("goes on with the old token where renewing fails, and tries again after a second", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      let fetched = 0
      const token = Effect.suspend(() =>
        ++fetched === 1
          ? Effect.succeed({ token: Redacted.make("t1"), timeToLive: "100 seconds" as const })
          : Effect.fail("down")
      )
      const authenticated = Auth.intercept(Auth.make({ token }))(channel)
      yield* authenticated.unary(call())
      yield* TestClock.adjust("95 seconds")
      for (let n = 0; n < 5; n++) yield* authenticated.unary(call())
      assert.strictEqual(fetched, 2)
      yield* TestClock.adjust("1 second")
      yield* authenticated.unary(call())
      assert.strictEqual(fetched, 3)
      assert.deepStrictEqual(new Set(sentOf(seen)), new Set(["Bearer t1"]))
    })
  )

  it.effect("fetches once for all calls that wait, and an interrupt of the first harms none of the others", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const { state, token } = numbered("1 hour", Effect.sleep("100 millis"))
      const authenticated = Auth.intercept(Auth.make({ token }))(channel)
      const fibers = yield* Effect.forEach([1, 2, 3], () =>
        Effect.forkChild(authenticated.unary(call()), { startImmediately: true })
      )
      yield* TestClock.adjust("50 millis")
      yield* Fiber.interrupt(fibers[0]!)
      yield* TestClock.adjust("50 millis")
      yield* Fiber.joinAll(fibers.slice(1))
      assert.strictEqual(state.fetched, 1)
      assert.deepStrictEqual(sentOf(seen), ["Bearer t1", "Bearer t1"])
    })
  )

  it.effect("a call with less time than the fetch ends by its deadline, and harms none of the others", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      // What a token service that is called over gRPC does: it listens to the ambient deadline.
      const token = Effect.gen(function* () {
        const limit = yield* Deadline.current
        const now = yield* Effect.withFiber((fiber) => Effect.succeed(Deadline.nowUnsafe(fiber)))
        if (limit - now < 100) return yield* Effect.fail("no time")
        yield* Effect.sleep("100 millis")
        return Redacted.make("t1")
      })
      const authenticated = Auth.intercept(Auth.make({ token }))(channel).pipe(Deadline.withDefault("5 seconds"))
      const hasty = yield* Effect.forkChild(failing(Deadline.within(authenticated.unary(call()), 30)), {
        startImmediately: true
      })
      const patient = yield* Effect.forkChild(authenticated.unary(call()), { startImmediately: true })
      yield* TestClock.adjust(30)
      const error = yield* Fiber.join(hasty)
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase: "Queued", by: "Us" })
      assert.strictEqual(error.progress, "NotSent")
      yield* TestClock.adjust(70)
      assert.strictEqual((yield* Fiber.join(patient)).message, "ada")
      assert.lengthOf(seen, 1)
    })
  )

  it.effect("a fetch that hangs fails the calls that wait for it in time, and the next one begins anew", () =>
    Effect.gen(function* () {
      for (const hang of [Effect.never, Effect.uninterruptible(Effect.never)]) {
        const { channel, seen } = scripted("ok")
        let fetched = 0
        const token = Effect.suspend(() =>
          ++fetched === 1 ? hang : Effect.succeed({ token: Redacted.make("t2"), timeToLive: "1 hour" as const })
        )
        const authenticated = Auth.intercept(Auth.make({ token }))(channel)
        const first = yield* Effect.forkChild(failing(authenticated.unary(call())), { startImmediately: true })
        yield* TestClock.adjust("300 millis")
        const second = yield* Effect.forkChild(failing(authenticated.unary(call())), { startImmediately: true })
        yield* TestClock.adjust("200 millis")
        for (const error of [yield* Fiber.join(first), yield* Fiber.join(second)]) {
          assert.deepInclude(error.reason, { _tag: "Unavailable", details: "No token within 500 ms" })
          assert.strictEqual(error.progress, "NotSent")
        }
        yield* authenticated.unary(call())
        assert.deepStrictEqual(sentOf(seen), ["Bearer t2"])
      }
    })
  )

  it.effect("a fetch whose callers have all left is not waited for later", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      let interrupted = 0
      let fetched = 0
      const hang = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      const token = Effect.suspend(() => (++fetched === 1 ? hang : Effect.succeed(Redacted.make("t2"))))
      const authenticated = Auth.intercept(Auth.make({ token }))(channel)
      const first = yield* Effect.forkChild(authenticated.unary(call()), { startImmediately: true })
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("1 minute")
      yield* authenticated.unary(call())
      assert.strictEqual(interrupted, 1)
      assert.deepStrictEqual(sentOf(seen), ["Bearer t2"])
    })
  )

  class VaultSealed extends Data.TaggedError("VaultSealed")<{ readonly url: string }> {
    override get message() {
      return this.url
    }
  }

  it.effect.each<readonly [string, Effect.Effect<unknown, unknown>, string]>([
    ["fails", Effect.fail(new VaultSealed({ url: secret })), "No token, its effect failed: VaultSealed"],
    ["fails with a text", Effect.fail(secret), "No token, its effect failed"],
    [
      "throws",
      Effect.sync(() => {
        throw new RangeError(secret)
      }),
      "No token, its effect failed: RangeError"
    ],
    ["is interrupted", Effect.interrupt, "No token, its effect was interrupted"],
    ["gives a plain text", Effect.succeed(secret), "The token is no redacted text"],
    ["gives nothing", Effect.void, "The token is no redacted text"],
    ["gives an empty one", Effect.succeed(Redacted.make("")), "The token is no redacted text"],
    ["gives a number", Effect.succeed({ token: Redacted.make(7) }), "The token is no redacted text"],
    [
      "gives a line feed",
      Effect.succeed(Redacted.make(`${secret}\n`)),
      'The token can\'t be sent: metadata["authorization"]: expected printable ASCII, got 20 characters with others'
    ],
    [
      "gives a nonsense of a time to live",
      Effect.succeed({ token: Redacted.make(secret), timeToLive: { second: 5 } }),
      "The token's timeToLive is no duration"
    ]
  ])("an effect that %s fails the call, unsent, and shows no secret", ([, token, details]) =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const authenticated = Auth.intercept(Auth.make({ token: token as Effect.Effect<Auth.Token> }))(channel)
      const error = yield* failing(authenticated.unary(call()))
      assert.deepInclude(error.reason, { _tag: "Unauthenticated", details })
      assert.strictEqual(error.progress, "NotSent")
      assert.lengthOf(seen, 0)
      const shown = [
        error.message,
        JSON.stringify(error),
        inspect(error, { depth: 9 }),
        Cause.pretty(Cause.fail(error))
      ]
      assert.notInclude(shown.join(), secret)
    })
  )

  it.effect("keeps the cause for those who look, redacted", () =>
    Effect.gen(function* () {
      const token = Effect.fail(new VaultSealed({ url: secret }))
      const error = yield* failing(Auth.intercept(Auth.make({ token }))(scripted("ok").channel).unary(call()))
      assert.instanceOf(Redacted.value(error.cause as Redacted.Redacted<unknown>), VaultSealed)
    })
  )

  it.effect("forgets a token that the server refuses, unless it is as good as new", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted(unauthenticated)
      const { state, token } = numbered("1 hour")
      const authenticated = Auth.intercept(Auth.make({ token }))(channel)
      const refused = Effect.ignore(authenticated.unary(call()))
      yield* refused
      yield* refused
      assert.strictEqual(state.fetched, 1)
      yield* TestClock.adjust("1 second")
      yield* refused
      yield* refused
      assert.deepStrictEqual(sentOf(seen), ["Bearer t1", "Bearer t1", "Bearer t1", "Bearer t2"])
    })
  )

  it.effect("retry asks again for a token that came too late, and not for one that can't be had", () =>
    Effect.gen(function* () {
      let fetched = 0
      const slow = Effect.suspend(() => (++fetched === 1 ? Effect.never : Effect.succeed(Redacted.make("t2"))))
      const retry = Retry.intercept(Retry.make({ schedule: Schedule.recurs(3) }))
      const { channel, seen } = scripted("ok")
      const authenticated = retry(Auth.intercept(Auth.make({ token: slow }))(channel))
      const fiber = yield* Effect.forkChild(authenticated.unary(call()))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(sentOf(seen), ["Bearer t2"])
      let asked = 0
      const broken = Effect.suspend(() => Effect.fail(++asked))
      yield* failing(retry(Auth.intercept(Auth.make({ token: broken }))(channel)).unary(call()))
      assert.strictEqual(asked, 1)
    })
  )

  it.effect("is refused in plaintext, unless the policy allows it", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const token = Effect.succeed(Redacted.make(secret))
      const wire = Auth.plaintext(channel)
      const error = yield* failing(Auth.intercept(Auth.make({ token }))(wire).unary(call()))
      assert.deepInclude(error.reason, { _tag: "Unauthenticated", details: "Tokens are not sent in plaintext" })
      assert.strictEqual(error.progress, "NotSent")
      assert.lengthOf(seen, 0)
      yield* Auth.intercept(Auth.make({ token, allowInsecure: true }))(wire).unary(call())
      yield* wire.unary(call())
      assert.lengthOf(seen, 2)
    })
  )

  it.effect("is refused in plaintext whatever lies between", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted("ok")
      const token = Effect.succeed(Redacted.make(secret))
      const between = Channel.intercept(Auth.plaintext(channel), (c, next) => next({ ...c, priority: 2 }))
      const retried = Retry.intercept(Retry.make())(Auth.intercept(Auth.make({ token }))(between))
      yield* failing(retried.unary(call()))
      assert.lengthOf(seen, 0)
    })
  )

  it.effect("is a layer, which takes what the effect requires when it is built", () =>
    Effect.gen(function* () {
      class Vault extends Context.Service<Vault, { readonly key: string }>()("test/Vault") {}
      const { channel, seen } = scripted("ok")
      const token = Effect.map(Vault, ({ key }) => Redacted.make(key))
      const layer = Auth.layer(Auth.make({ token, scheme: "Token" })).pipe(
        Layer.provide([Layer.succeed(Channel.Channel, channel), Layer.succeed(Vault, { key: "k" })])
      )
      yield* Channel.Channel.use((c) => c.unary(call())).pipe(Effect.provide(layer))
      assert.deepStrictEqual(sentOf(seen), ["Token k"])
    })
  )

  it("lists everything that is wrong with its options, and shows no token", () => {
    try {
      Auth.make({
        token: secret,
        key: "te",
        scheme: "a b",
        timeToLive: NaN,
        timeout: 0,
        allowInsecure: 1,
        x: 1
      } as never)
      assert.fail("accepted")
    } catch (error) {
      assert.instanceOf(error, OptionsError.OptionsError)
      assert.deepStrictEqual(
        error.issues.map(({ path }) => path),
        ["token", "key", "scheme", "timeToLive", "timeout", "allowInsecure", "x"]
      )
      assert.notInclude(error.message, secret)
    }
  })
})
