// @effect-diagnostics floatingEffect:off missingEffectError:off
// Checked by tsc, never run: what middleware infers.
import type { Method, RpcError } from "@hawser/grpc"
import { Channel, Deadline, Retry } from "@hawser/grpc"
import type { Layer } from "effect"
import { Context, Data, Effect } from "effect"
import type { Equals } from "./equals.ts"
import { check } from "./equals.ts"

class NoTenant extends Data.TaggedError("NoTenant")<{}> {}
class Tenant extends Context.Service<Tenant, { readonly id: Effect.Effect<string, NoTenant> }>()("app/Tenant") {}
declare const channel: Channel.Channel

// Errors and requirements are inferred, data-first and data-last.
{
  const first = Channel.intercept(channel, (call, next) =>
    Effect.flatMap(
      Tenant.use((t) => t.id),
      (id) => next({ ...call, affinity: { key: id, hard: false } })
    )
  )
  check<Equals<typeof first, Channel.Channel.With<RpcError.RpcError | NoTenant, Tenant>>>()
  const last = channel.pipe(
    Channel.intercept((call, next) =>
      Effect.flatMap(
        Tenant.use((t) => t.id),
        (id) => next({ ...call, affinity: { key: id, hard: false } })
      )
    )
  )
  const last1: Channel.Channel.With<RpcError.RpcError | NoTenant, Tenant> = last
  void last1
  const generic = <E, R>(self: Channel.Channel.With<E, R>): Channel.Channel.With<E | NoTenant, R | Tenant> =>
    Channel.intercept(self, (call, next) =>
      Effect.flatMap(
        Tenant.use((t) => t.id),
        (id) => next({ ...call, affinity: { key: id, hard: false } })
      )
    )
  void generic
  const mapped = Channel.mapError(first, (error) => error._tag)
  check<Equals<typeof mapped, Channel.Channel.With<"RpcError" | "NoTenant", Tenant>>>()
}

// The answer is opaque: it can only come from `next`.
{
  // @ts-expect-error an answer out of nothing
  Channel.intercept(channel, () => Effect.succeed({ message: "" }))
}

// What a layer's middleware requires is taken when the layer is built.
{
  const layer = Channel.layerMiddleware((self) =>
    Channel.intercept(self, (call, next) =>
      Effect.flatMap(Effect.orDie(Tenant.use((t) => t.id)), (id) =>
        next({ ...call, affinity: { key: id, hard: false } })
      )
    )
  )
  check<Equals<typeof layer, Layer.Layer<Channel.Channel, never, Channel.Channel | Tenant>>>()
  // @ts-expect-error a layer of a channel must fail with RpcError only
  Channel.layerMiddleware((self) => Channel.intercept(self, () => Effect.fail(new NoTenant())))
}

// The parts of the stack compose.
{
  const stack = channel.pipe(Retry.intercept(Retry.make()), Deadline.withDefault("1 second"))
  check<Equals<typeof stack, Channel.Channel.With<RpcError.RpcError>>>()
  const layer: Layer.Layer<Channel.Channel, never, Channel.Channel> = Retry.layer(Retry.make())
  void layer
  const within = Deadline.within(channel.unary({} as never), "1 second")
  void within
  // @ts-expect-error not a duration
  Deadline.within(Effect.void, "soon")
}

// Methods vary as functions do.
{
  const narrow: Method.Method<{ readonly name: string; readonly age: number }, string> = {} as Method.Method<
    { readonly name: string },
    "a",
    "unary"
  >
  void narrow
  // @ts-expect-error a method that needs more
  const wide: Method.Method<{}, string> = narrow
  void wide
}
