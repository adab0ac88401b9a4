/** Clients, as the conductor has them. */
import { readFileSync } from "node:fs"
import type { Event } from "@hawser/core/Event"
import { Effect, type Scope } from "effect"
import { Ledger } from "./ledger.ts"
import type { ClientConfig, FromClient, Left, LoadConfig, ToClient } from "./messages.ts"
import { wallMillis } from "./messages.ts"
import type { Namespace } from "./namespaces.ts"
import { faketime } from "./needs.ts"
import { type Child, ChildFailed, fork } from "./processes.ts"
import type { Stage } from "./scenario.ts"

export interface Seen<E extends Event = Event> {
  /** In wall milliseconds. */
  readonly at: number
  readonly event: E
}

/** A process with `Grpc.layer` and everything that can be known of it. */
export interface Client {
  readonly child: Child<ToClient, FromClient>
  /** Every event so far, in order. */
  readonly events: ReadonlyArray<Seen>
  readonly count: (tag: Event["_tag"], since?: number) => number
  /** The first event of this kind from `since` on that fits, as soon as it comes; `undefined` if it does not come in time. */
  readonly until: <Tag extends Event["_tag"]>(
    tag: Tag,
    since: number,
    seconds: number,
    fits?: (event: Extract<Event, { readonly _tag: Tag }>) => boolean
  ) => Effect.Effect<Seen<Extract<Event, { readonly _tag: Tag }>> | undefined>
  /** Waits until so many endpoints are ready. */
  readonly ready: (count: number, seconds?: number) => Effect.Effect<boolean, ChildFailed>
  readonly load: (load: Omit<LoadConfig, "name" | "method"> & Partial<LoadConfig>) => Effect.Effect<void>
  /** Ends a load, waits for its calls, and hands over what became of them. */
  readonly finish: (name?: string) => Effect.Effect<Ledger, ChildFailed>
  readonly snapshot: Effect.Effect<FromClient & { tag: "snapshot" }, ChildFailed>
  /** Closes the layer and says what is left. Scenarios that don't are closed after them. */
  readonly close: Effect.Effect<Left, ChildFailed>
}

export interface ClientOptions extends Partial<ClientConfig> {
  readonly namespace?: Namespace | undefined
  /** A file that says how far its wall clock is turned, read again and again: `+1h`. */
  readonly clock?: string | undefined
}

/** What makes a process see the wall clock turned, and no other. */
const turned = (file: string): Readonly<Record<string, string>> => ({
  LD_PRELOAD: faketime ?? "",
  FAKETIME_TIMESTAMP_FILE: file,
  FAKETIME_NO_CACHE: "1",
  FAKETIME_DONT_FAKE_MONOTONIC: "1"
})

/** Starts a client and waits until its layer is built. */
export const start = (
  stage: Stage,
  options: ClientOptions & { readonly target: string }
): Effect.Effect<Client, ChildFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const { clock, namespace, ...rest } = options
    const log = stage.log()
    const config: ClientConfig = { canary: stage.canary, log, ...rest }
    const child = yield* fork<ToClient, FromClient>("client", "./client.ts", config, {
      namespace: namespace?.name,
      output: `${log}.out`,
      env: clock === undefined ? {} : turned(clock),
      flags: ["--expose-gc"]
    })
    const events: Array<Seen> = []
    const looks = new Set<() => void>()
    child.listen((message) => {
      if (message.tag !== "event") return
      events.push({ at: message.at, event: message.event })
      for (const look of [...looks]) look()
    })
    const built = yield* Effect.result(child.hear("built"))
    if (built._tag === "Failure") {
      const how = `was not built: ${readFileSync(`${log}.out`, "utf8").slice(-2_000)}`
      return yield* new ChildFailed({ child: "client", how })
    }
    let left: Left | undefined
    const close = Effect.suspend(() =>
      left === undefined
        ? Effect.map(child.ask({ tag: "close" }, "closed", 45), (closed) => (left = closed.left))
        : Effect.succeed(left)
    )
    const client: Client = {
      child,
      events,
      count: (tag, since = 0) => events.filter(({ at, event }) => event._tag === tag && at >= since).length,
      until: <Tag extends Event["_tag"]>(
        tag: Tag,
        since: number,
        seconds: number,
        fits: (event: Extract<Event, { readonly _tag: Tag }>) => boolean = () => true
      ) =>
        Effect.callback<Seen<Extract<Event, { readonly _tag: Tag }>> | undefined>((resume) => {
          type Wanted = Seen<Extract<Event, { readonly _tag: Tag }>>
          const look = () => {
            const found = events.find(
              (seen) => seen.event._tag === tag && seen.at >= since && fits((seen as Wanted).event)
            )
            if (found !== undefined) done(found as Wanted)
          }
          const done = (found: Wanted | undefined) => {
            clearTimeout(timer)
            looks.delete(look)
            resume(Effect.succeed(found))
          }
          const timer = setTimeout(() => done(undefined), seconds * 1_000)
          looks.add(look)
          look()
          return Effect.sync(() => {
            clearTimeout(timer)
            looks.delete(look)
          })
        }),
      ready: (count, seconds = 20) => Effect.map(child.ask({ tag: "ready", count }, "ready", seconds), ({ ok }) => ok),
      load: (load) => child.tell({ tag: "load", load: { name: "load", method: "echo", ...load } }),
      finish: (name = "load") =>
        Effect.map(child.ask({ tag: "stop", name }, "columns", 60), ({ columns }) => new Ledger(columns)),
      snapshot: child.ask({ tag: "snapshot" }, "snapshot"),
      close
    }
    stage.clients.push(client)
    return client
  })

/** Now, in the milliseconds of ledgers and events. */
export const now: Effect.Effect<number> = Effect.sync(wallMillis)
