/**
 * The balance of a retry budget as a gauge: read when it is scraped, so that it costs a call nothing.
 *
 * | gauge | what | attributes |
 * |---|---|---|
 * | `hawser.retry.budget.balance` | retries that could be sent now | `target` |
 */
import type { RetryBudget } from "@hawser/core/RetryBudget"
import { monotonicMillis } from "@hawser/core/Time"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"

/**
 * Registers the gauge in the context's metric registry, until the scope closes.
 *
 * **Gotchas**: of two budgets with one target name, the later one is shown.
 */
export const register = (target: string, budget: RetryBudget): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.contextWith((context: Context.Context<never>) =>
        Effect.sync(() => {
          const clock = Context.get(context, Clock.Clock)
          const description = "Retries that the budget allows now"
          const gauge = Metric.gauge("hawser.retry.budget.balance", { description, attributes: { target } })
          return Metric.registerUnsafe(gauge, context, {
            get: () => ({ value: budget.balance(monotonicMillis(clock)) }),
            update: () => {},
            modify: () => {}
          })
        })
      ),
      (registration) => Effect.sync(() => registration.remove())
    )
  )
