/**
 * The two safe ways to borrow: while one effect runs, and for the lifetime of a scope.
 *
 * A permit is only ever taken under an uninterruptible mask, so that there is no moment between the permit and the
 * promise to return it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { Borrow, Waiting } from "./Borrow.ts"
import type { Affinity, Demand, Priority } from "./Demand.ts"
import type { Lease } from "./Lease.ts"
import type { Outcome } from "./Outcome.ts"

type BorrowUnsafe<C, E> = (borrow: Borrow<C, E>) => Waiting | undefined

class Pending<C, E> implements Borrow<C, E> {
  readonly priority: Priority
  readonly deadline: number
  readonly waitForReady: boolean
  readonly waitUntil: number | undefined
  readonly affinity: Affinity | undefined
  readonly method: string | undefined
  readonly avoid: ReadonlySet<string> | undefined
  lease: Lease<C> | undefined = undefined
  error: { readonly value: E } | undefined = undefined
  wake: (() => void) | undefined = undefined
  private readonly demand: Partial<Demand> | undefined

  constructor(demand: Partial<Demand> | undefined) {
    this.priority = demand?.priority ?? 1
    this.deadline = demand?.deadline ?? Infinity
    this.waitForReady = demand?.waitForReady ?? false
    this.waitUntil = demand?.waitUntil
    this.affinity = demand?.affinity
    this.method = demand?.method
    this.avoid = demand?.avoid
    this.demand = demand
  }
  granted(lease: Lease<C>): void {
    this.lease = lease
    this.wake?.()
  }
  refused(error: E): void {
    this.error = { value: error }
    this.wake?.()
  }
  lost(): void {
    this.demand?.lost?.()
  }
  get answered(): boolean {
    return this.lease !== undefined || this.error !== undefined
  }
}

const borrowed = <C, E, A, E2, R>(
  borrowUnsafe: BorrowUnsafe<C, E>,
  demand: Partial<Demand> | undefined,
  run: (
    lease: Lease<C>,
    restore: <B, E3, R3>(self: Effect.Effect<B, E3, R3>) => Effect.Effect<B, E3, R3>
  ) => Effect.Effect<A, E2, R>
): Effect.Effect<A, E | E2, R> =>
  Effect.uninterruptibleMask((restore) => {
    const borrow = new Pending<C, E>(demand)
    const place = borrowUnsafe(borrow)
    const settle = (): Effect.Effect<A, E | E2, R> =>
      borrow.lease !== undefined ? run(borrow.lease, restore) : Effect.fail(borrow.error!.value)
    if (borrow.answered) return settle()
    const wait = Effect.callback<void>((resume) => {
      borrow.wake = () => resume(Effect.void)
      if (borrow.answered) borrow.wake()
    })
    return Effect.matchCauseEffect(restore(wait), {
      onFailure: (cause) => {
        place?.leave()
        // It may have been granted in the turn of the interrupt.
        borrow.lease?.release("Neutral")
        return Effect.failCause(cause)
      },
      onSuccess: settle
    })
  })

const verdict = (exit: Exit.Exit<unknown, unknown>): Outcome =>
  Exit.isSuccess(exit) ? "Success" : Exit.hasInterrupts(exit) ? "Neutral" : "Failure"

/** Borrows while `f` runs. */
export const use = <C, E, A, E2, R>(
  borrowUnsafe: BorrowUnsafe<C, E>,
  f: (lease: Lease<C>) => Effect.Effect<A, E2, R>,
  demand: Partial<Demand> | undefined
): Effect.Effect<A, E | E2, R> =>
  borrowed(borrowUnsafe, demand, (lease, restore) =>
    Effect.onExit(restore(Effect.suspend(() => f(lease))), (exit) => {
      lease.release(verdict(exit))
      return Effect.void
    })
  )

/** Borrows until the scope closes. */
export const get = <C, E>(
  borrowUnsafe: BorrowUnsafe<C, E>,
  demand: Partial<Demand> | undefined
): Effect.Effect<Lease<C>, E, Scope.Scope> =>
  borrowed(borrowUnsafe, demand, (lease) =>
    Effect.as(
      Effect.addFinalizer((exit) => Effect.sync(() => lease.release(verdict(exit)))),
      lease
    )
  )
