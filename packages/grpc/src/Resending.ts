/**
 * How calls are sent again in the default stack: as the slots of `Grpc.layer` say, and as a service config says where a
 * slot is not given.
 *
 * Retry or hedge, never both for one call. Both spend one budget, which is shown as a gauge.
 */
import * as RetryBudget from "@hawser/core/RetryBudget"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Channel, make as makeChannel } from "./Channel.ts"
import type { Decoded } from "./Decoded.ts"
import * as Hedge from "./Hedge.ts"
import type { Method } from "./Method.ts"
import * as Retry from "./Retry.ts"
import * as RetryGauge from "./RetryGauge.ts"
import type { RpcError } from "./RpcError.ts"
import type { Policies } from "./ServiceConfigMiddleware.ts"

type Any = Pick<Method<never, unknown>, "path" | "kind" | "idempotency">

/** A channel with its retries and hedges, and the retries alone. */
export interface Resending {
  readonly resent: Channel
  readonly retry: Retry.Retry | false
}

/** Puts retries and hedges on a channel. `fromConfig`: the policies of a service config, which spend the budget it is given. */
export const resending = (
  channel: Channel,
  { given, hedge, retry, target }: Pick<Decoded, "given" | "hedge" | "retry" | "target">,
  fromConfig: ((budget: RetryBudget.RetryBudget) => Policies) | undefined
): Effect.Effect<Resending, never, Scope.Scope> =>
  Effect.gen(function* () {
    const named = (retry !== false && retry.budget) || (hedge !== false && hedge.budget) || undefined
    const budget = named ?? RetryBudget.make()
    const config = fromConfig?.(budget)
    const base = retry === false || retry.budget !== undefined ? retry : { ...retry, budget }
    const retries = config === undefined || given.retry ? base : Retry.byMethod(config.retryOf, base)
    const retried = retries === false ? channel : Retry.intercept(retries)(channel)
    const hedges = hedge !== false || (config !== undefined && !given.hedge)
    if (hedges || (retry !== false && retry.budget !== false)) yield* RetryGauge.register(target.name, budget)
    if (!hedges) return { resent: retried, retry: retries }
    const made = new Map<Hedge.Hedge, Channel>()
    const hedged = (policy: Hedge.Hedge): Channel => {
      let out = made.get(policy)
      if (out === undefined) {
        out = Hedge.intercept(policy.budget === undefined ? { ...policy, budget } : policy)(channel)
        made.set(policy, out)
      }
      return out
    }
    const by = (method: Any): Channel => {
      const policy = hedge === false ? config?.hedgeOf(method.path) : hedge
      return policy !== undefined && Hedge.isHedged(policy, method) ? hedged(policy) : retried
    }
    const resent = makeChannel<RpcError>({
      unary: (call) => by(call.method).unary(call),
      stream: (call) => by(call.method).stream(call)
    })
    return { resent, retry: retries }
  })
