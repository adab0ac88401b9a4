import { assert, describe, it } from "@effect/vitest"
import { Channel, Deadline, RpcError } from "@hawser/grpc"
import { Context, Effect, Layer, Tracer } from "effect"
import { call, scripted, unavailable } from "../../support/channels.ts"

class Tenant extends Context.Service<Tenant, { readonly id: string }>()("app/Tenant") {}

describe("Channel", () => {
  it("is recognised and pipes", () => {
    const { channel } = scripted()
    assert.isTrue(Channel.isChannel(channel))
    assert.isFalse(Channel.isChannel({ unary: channel.unary }))
    assert.strictEqual(
      channel.pipe((self) => self),
      channel
    )
    assert.isTrue(Channel.isChannel(Channel.intercept(channel, (one, next) => next(one))))
  })

  it.effect("shows a call to the last wrap first", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const note =
        (name: string) =>
        <E, R>(self: Channel.Channel.With<E, R>) =>
          Channel.intercept(self, (one, next) =>
            Effect.suspend(() => {
              order.push(`${name} out`)
              return Effect.tap(next(one), () => Effect.sync(() => order.push(`${name} back`)))
            })
          )
      const channel = scripted().channel.pipe(note("inner"), note("outer"))
      const { message } = yield* channel.unary(call())
      assert.strictEqual(message, "ada")
      assert.deepStrictEqual(order, ["outer out", "inner out", "inner back", "outer back"])
    })
  )

  it.effect("sends what middleware made of the call, as often as it likes", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted()
      const twice = Channel.intercept(channel, (one, next) =>
        Effect.andThen(next({ ...one, priority: 2 }), next({ ...one, attempt: 2 }))
      )
      yield* twice.unary(call())
      assert.deepStrictEqual(
        seen.map(({ attempt, priority }) => [attempt, priority]),
        [
          [1, 2],
          [2, 1]
        ]
      )
    })
  )

  it.effect("maps errors", () =>
    Effect.gen(function* () {
      const { channel } = scripted(unavailable("NotSent"))
      const error = yield* Effect.flip(Channel.mapError(channel, (e) => e.reason._tag).unary(call()))
      assert.strictEqual(error, "Unavailable")
    })
  )
})

describe("layerMiddleware", () => {
  const affinity = Channel.layerMiddleware((self) =>
    Channel.intercept(self, (one, next) => Tenant.use(({ id }) => next({ ...one, affinity: { key: id, hard: false } })))
  )
  const over = (base: Channel.Channel) =>
    affinity.pipe(Layer.provide([Layer.succeed(Channel.Channel, base), Layer.succeed(Tenant, { id: "acme" })]))
  const run = Channel.Channel.use((channel) => channel.unary(call()))

  it.effect("takes what the middleware requires from where the layer is built", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted()
      yield* Effect.provide(run, over(channel))
      assert.deepStrictEqual(seen[0]?.affinity, { key: "acme", hard: false })
    })
  )

  it.effect("puts what the call brings before what the layer was built with", () =>
    Effect.gen(function* () {
      const { channel, seen } = scripted()
      yield* run.pipe(Effect.provideService(Tenant, { id: "own" }), Effect.provide(over(channel)))
      assert.deepStrictEqual(seen[0]?.affinity, { key: "own", hard: false })
    })
  )

  it.effect("leaves a call its own context", () =>
    Effect.gen(function* () {
      const spans: Array<string> = []
      const deadlines: Array<number> = []
      const base = Channel.intercept(scripted().channel, (one, next) =>
        Effect.withFiber((fiber) => {
          spans.push(fiber.context.mapUnsafe.get(Tracer.ParentSpan.key) === undefined ? "none" : "own")
          return Effect.andThen(
            Effect.map(Deadline.current, (at) => deadlines.push(at)),
            next(one)
          )
        })
      )
      const program = Effect.gen(function* () {
        yield* Effect.withSpan(run, "call")
        yield* Deadline.within(run, "1 second")
        yield* run
      })
      yield* Effect.provide(program, over(base))
      assert.deepStrictEqual(spans, ["own", "none", "none"])
      assert.deepStrictEqual(deadlines, [Infinity, 1000, Infinity])
    })
  )

  it.effect("passes errors on", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.provide(run, over(scripted(unavailable("Refused")).channel)))
      assert.isTrue(RpcError.isRpcError(error))
    })
  )
})
