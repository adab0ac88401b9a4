/**
 * Which calls wait for a connection while every dial fails, instead of failing at once.
 *
 * A call can say so itself, and has the last word (`waitForReady`, `true` or `false`). This says it for whole methods: for
 * work in the background, which would only be tried again, and not for calls that somebody waits for. While a first dial is under way every call waits;
 * here it is about what comes after one has failed.
 */
import { Issues } from "@hawser/core/OptionsError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { hasProperty } from "effect/Predicate"
import * as Channel from "./Channel.ts"
import { isMillis, millisOf, nowUnsafe } from "./Deadline.ts"

const TypeId = "~hawser/WaitForReady"

/** Which methods wait. */
export interface WaitForReady {
  readonly [TypeId]: typeof TypeId
  /** Gets the full path, `/package.Service/Method`. */
  readonly waits: (path: string) => boolean
  readonly atMostMillis: number | undefined
}

/** What `make` takes. */
export interface WaitForReadyOptions {
  /**
   * Full paths (`/demo.Shop/Restock`), services as a whole (`/demo.Shop/`), or a function of the full path. Default: every
   * method.
   */
  readonly methods?: ReadonlyArray<string> | ((path: string) => boolean) | undefined
  /**
   * How long calls of these methods wait for a connection, whoever said that they wait; above 0, at most 24 days. Default:
   * until their deadline, and as long as the queue lets them (30 s).
   */
  readonly atMost?: Duration.Input | undefined
}

const known: ReadonlyArray<string> = ["methods", "atMost"]

// A service and a slash, then perhaps a method.
const legal = /^\/[^/\s]+\/[^/\s]*$/

/**
 * Makes a policy; throws an `OptionsError` that lists all that is wrong with the options.
 *
 * ```ts import.meta.vitest
 * import { WaitForReady } from "@hawser/grpc"
 *
 * const policy = WaitForReady.make({ methods: ["/demo.Shop/Restock", "/demo.Audit/"] })
 * policy.waits("/demo.Shop/Restock") // => true
 * policy.waits("/demo.Shop/Buy") // => false
 * policy.waits("/demo.Audit/Append") // => true
 * let message = ""
 * try { WaitForReady.make({ methods: ["Restock"] }) } catch (e) { message = (e as Error).message }
 * message // => 'methods[0]: expected /package.Service/Method, or /package.Service/, got "Restock"'
 * ```
 */
export const make = (options: WaitForReadyOptions = {}): WaitForReady => {
  const { methods } = options
  const issues = new Issues()
  if (Array.isArray(methods)) {
    issues.check(methods.length > 0, "methods", "at least one method; nothing waits otherwise", methods)
    methods.forEach((path: unknown, i) => {
      const rule = "/package.Service/Method, or /package.Service/"
      issues.check(typeof path === "string" && legal.test(path), `methods[${i}]`, rule, path)
    })
  } else {
    const fits = methods === undefined || typeof methods === "function"
    issues.check(fits, "methods", "a list of paths, or a function of the path", methods)
  }
  const atMostMillis = options.atMost === undefined ? undefined : millisOf(options.atMost)
  const bounded = atMostMillis === undefined || isMillis(atMostMillis)
  issues.check(bounded, "atMost", "a duration above 0, at most 24 days", options.atMost)
  for (const key of Object.keys(options)) issues.check(known.includes(key), key, `one of ${known.join(", ")}`, key)
  issues.throwIfAny()
  return { [TypeId]: TypeId, waits: selectorOf(methods), atMostMillis }
}

const selectorOf = (methods: WaitForReadyOptions["methods"]): ((path: string) => boolean) => {
  if (methods === undefined) return () => true
  if (typeof methods === "function") return methods
  const names = new Set(methods)
  return (path) => names.has(path) || names.has(path.slice(0, path.lastIndexOf("/") + 1))
}

/**
 * Whether a value is a policy. What only looks like one is none: `make` has checked nothing of it.
 *
 * ```ts import.meta.vitest
 * import { WaitForReady } from "@hawser/grpc"
 *
 * WaitForReady.isWaitForReady(WaitForReady.make()) // => true
 * WaitForReady.isWaitForReady({ waits: () => true }) // => false
 * ```
 */
export const isWaitForReady = (u: unknown): u is WaitForReady => hasProperty(u, TypeId)

/**
 * Middleware that lets calls wait.
 *
 * **Details**: the wait ends with `atMost`, with the deadline of the call, or with the longest wait of the queue (30 s),
 * whichever is soonest: then it is `DeadlineExceeded` by `Us`, phase `Connecting`, `NotSent`.
 *
 * **Gotchas**: a call that says `waitForReady: false` does not wait, whatever the policy says of its method.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Call, Channel, WaitForReady } from "@hawser/grpc"
 *
 * const base = Channel.make({ unary: (call) => Effect.die(call.waitForReady) })
 * const channel = base.pipe(WaitForReady.intercept(WaitForReady.make({ methods: ["/demo.Shop/Restock"] })))
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const waits = (path: string) =>
 *   Effect.catchDefect(
 *     channel.unary(Call.make({ path, kind: "unary", idempotency: "Unknown", ...codec }, "tea")),
 *     Effect.succeed
 *   )
 * Effect.runSync(waits("/demo.Shop/Restock")) // => true
 * Effect.runSync(waits("/demo.Shop/Buy")) // => undefined
 * ```
 */
export const intercept =
  (policy: WaitForReady) =>
  <E, R>(self: Channel.Channel.With<E, R>): Channel.Channel.With<E, R> =>
    Channel.intercept(self, (call, next) =>
      Effect.withFiber((fiber) => {
        if (call.waitForReady === false || !policy.waits(call.method.path)) return next(call)
        const { atMostMillis } = policy
        if (atMostMillis === undefined) return next(call.waitForReady ? call : { ...call, waitForReady: true })
        const waitUntil = Math.min(call.waitUntil ?? Infinity, nowUnsafe(fiber) + atMostMillis)
        return next({ ...call, waitForReady: true, waitUntil })
      })
    )

/**
 * Waiting as a layer over another layer's channel.
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Call, Channel, WaitForReady } from "@hawser/grpc"
 * import { TestChannel } from "@hawser/testing"
 *
 * const shop = TestChannel.layer({ "/demo.Shop/Restock": (_, { waitForReady }) => Effect.succeed(String(waitForReady)) })
 * const layer = Layer.provide(WaitForReady.layer(), shop)
 * const codec = { encode: (text: string) => Buffer.from(text), decode: String }
 * const call = Call.make({ path: "/demo.Shop/Restock", kind: "unary", idempotency: "Unknown", ...codec }, "tea")
 * const program = Channel.Channel.use((channel) => channel.unary(call)).pipe(Effect.provide(layer))
 * const { message } = await Effect.runPromise(program)
 * message // => "true"
 * ```
 */
export const layer = (policy: WaitForReady = make()): Layer.Layer<Channel.Channel, never, Channel.Channel> =>
  Layer.effect(
    Channel.Channel,
    Effect.map(Channel.Channel, (channel) => intercept(policy)(channel))
  )
