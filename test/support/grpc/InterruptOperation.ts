import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import { Effect, Exit, Fiber, Scheduler, Scope, Stream } from "effect"
import type { Dice } from "../core/prng.ts"
import { afterTurns } from "./FlowMoments.ts"
import { build, type InterruptClient, Seen } from "./InterruptClient.ts"
import { Moment, type Signals } from "./InterruptMoment.ts"

const id = "i"

/** So many turns of the event loop. */
const turns = (n: number): Effect.Effect<void> => Effect.callback((resume) => afterTurns(n, () => resume(Effect.void)))

/**
 * Runs with a small budget: the fiber gives way after every few of its steps, so that an interrupt can fall between any
 * two of them. Below 3 Effect would only ever give way.
 */
export const inSteps = <A, E, R>(self: Effect.Effect<A, E, R>, dice: Dice): Effect.Effect<A, E, R> =>
  Effect.provideService(self, Scheduler.MaxOpsBeforeYield, dice.oneOf([3, 3, 4, 7, 20, 2_048, 2_048, 2_048]))

/** What is counted over all interrupts. */
export class Tally {
  /** Whom an interrupt met before its end, by what it had at that time. */
  readonly met: Record<string, number> = {}
  landed = 0
  late = 0
  /** Request streams that were begun and not ended. */
  sources = 0

  meet(what: string): void {
    this.met[what] = (this.met[what] ?? 0) + 1
  }
}

/** Where an operation finds what it needs. */
export interface World {
  readonly client: InterruptClient
  readonly seen: Seen
  readonly signals: Signals
  readonly tally: Tally
  /** For clients of an operation's own. */
  readonly options: (dice: Dice) => GrpcOptions
  /** Each client that was ever begun. */
  readonly all: Array<Seen>
}

type Operation = Effect.Effect<unknown, unknown, Scope.Scope>

type Kind = "echo" | "put" | "upload" | "watch" | "chat" | "get" | "use" | "awaitReady" | "events" | "own"
const kinds: ReadonlyArray<Kind> =
  "echo echo echo echo put put upload watch watch chat chat get get use awaitReady events own own".split(" ") as never

const operation = (dice: Dice, kind: Kind, number: string, world: World, moment: Moment): Operation => {
  const { client, tally } = world
  const { cluster, echo } = client
  const payload = Buffer.alloc(dice.oneOf([0, 100, 10_000]))
  const delayMillis = dice.below(20)
  const failCode = dice.chance(0.1) ? dice.oneOf([5, 14]) : 0
  const held = dice.below(40)
  const waitForReady = dice.chance(0.6)
  const options = { waitForReady, metadata: { operation: number } }
  const demand = { waitForReady, priority: dice.oneOf([0, 1, 1, 2] as const) }
  const messages = dice.oneOf([0, 1, 5, 50, Infinity])
  const requests = Stream.unwrap(
    Effect.as(
      Effect.acquireRelease(
        Effect.sync(() => tally.sources++),
        () => Effect.sync(() => tally.sources--)
      ),
      Stream.fromIterable({
        *[Symbol.iterator]() {
          for (let i = 0; i < messages; i++) yield { id, payload }
        }
      }).pipe(
        Stream.rechunk(1),
        Stream.tap(() => Effect.sync(moment.message)),
        (stream) => (dice.chance(0.1) ? Stream.concat(stream, Stream.fail("spilled")) : stream)
      )
    )
  )
  const most = dice.chance(0.3) ? dice.below(10) : Infinity
  const read = <E>(replies: { readonly messages: Stream.Stream<unknown, E> }) => {
    moment.message()
    const noticed = Stream.tap(replies.messages, () => Effect.sync(moment.message))
    return Stream.runDrain(most === Infinity ? noticed : Stream.take(noticed, most))
  }
  switch (kind) {
    case "echo":
      return echo.echo({ id, payload, delayMillis, failCode }, options)
    case "put":
      return echo.put({ id, delayMillis, failCode }, options)
    case "upload":
      return echo.upload(requests, options)
    case "watch": {
      const count = Number.isFinite(messages) ? messages + 1 : 0
      return Effect.flatMap(echo.watch.replies({ id, count, delayMillis, payload, failCode: 0 }, options), read)
    }
    case "chat":
      return Effect.flatMap(echo.chat.replies(requests, options), read)
    case "get":
      return Effect.andThen(cluster.get(demand), turns(held))
    case "use":
      return cluster.use(() => turns(held), demand)
    case "awaitReady":
      return cluster.awaitReady(1 + dice.below(2))
    case "events":
      return Stream.runDrain(Stream.tap(cluster.events, () => Effect.sync(moment.message)))
    case "own":
      return own(dice, world, held)
  }
}

/** A client from its building to its end, with calls on it that nobody waits for. */
const own = (dice: Dice, world: World, held: number): Effect.Effect<unknown, unknown, Scope.Scope> =>
  Effect.suspend(() => {
    const seen = new Seen(world.signals.say)
    world.all.push(seen)
    const ready = dice.chance(0.5)
    const calls = dice.below(4)
    const drains = dice.below(3)
    const apart = dice.chance(0.5)
    return Effect.scoped(
      Effect.gen(function* () {
        const { cluster, echo } = yield* build(world.options(dice), seen)
        for (let i = 0; i < calls; i++) {
          const call = Effect.exit(echo.echo({ id, payload: Buffer.alloc(0), delayMillis: held, failCode: 0 }))
          yield* Effect.forkScoped(call)
        }
        if (ready) yield* Effect.ignore(cluster.awaitReady())
        yield* turns(held)
        // The first to ask may be gone before the second asks, and neither may hear of the end.
        for (let i = 1; i < drains; i++) {
          const fiber = yield* Effect.forkChild(inSteps(cluster.drain, dice))
          yield* turns(dice.below(4))
          if (apart) fiber.interruptUnsafe()
        }
        if (drains > 0) yield* cluster.drain
      })
    )
  })

/** Notes whom an interrupt meets, and where it is. */
const meet = (fiber: Fiber.Fiber<unknown, unknown>, name: Kind, number: string, { seen, tally }: World): void => {
  if (fiber.pollUnsafe() !== undefined) return void tally.late++
  tally.landed++
  if (name === "own" || name === "awaitReady" || name === "events") tally.meet(name)
  else if (seen.onWire.has(number)) tally.meet("on the wire")
  else if (seen.waiting > 0) tally.meet(seen.dialling > 0 ? "queued while somebody dials" : "queued")
  else tally.meet(name === "get" || name === "use" ? "borrowing" : "before or after the wire")
}

/** One operation that is interrupted at one moment, in one of four ways. When it is over, its call is. */
export const interrupted = (dice: Dice, number: string, world: World): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { signals } = world
    const moment = new Moment(dice, signals)
    const kind = dice.oneOf(kinds)
    const run = inSteps(Effect.exit(operation(dice, kind, number, world, moment)), dice)
    const come = Effect.callback<void>((resume) => moment.when(() => resume(Effect.void)))
    const met = (fiber: Fiber.Fiber<unknown, unknown>) => meet(fiber, kind, number, world)
    switch (dice.oneOf(["strike", "strike", "strike", "twice", "race", "closer"])) {
      case "strike": {
        const fiber = yield* Effect.forkChild(Effect.scoped(run))
        moment.when(() => {
          met(fiber)
          fiber.interruptUnsafe()
        })
        yield* Fiber.await(fiber)
        break
      }
      case "twice": {
        const fiber = yield* Effect.forkChild(Effect.scoped(run))
        const turns = dice.below(3)
        moment.when(() => {
          met(fiber)
          fiber.interruptUnsafe()
          afterTurns(turns, () => fiber.interruptUnsafe())
        })
        new Moment(dice, signals).when(() => fiber.interruptUnsafe())
        yield* Fiber.await(fiber)
        break
      }
      case "race": {
        const fiber = yield* Effect.forkChild(Effect.raceFirst(Effect.scoped(run), come))
        moment.when(() => met(fiber))
        yield* Fiber.await(fiber)
        break
      }
      default: {
        // Whoever closes the scope is interrupted too. What he began must come to its end, whoever else waits for it.
        const scope = yield* Scope.make()
        const fiber = yield* Effect.forkIn(Scope.provide(run, scope), scope)
        const close = Effect.andThen(
          Effect.sync(() => met(fiber)),
          Scope.close(scope, Exit.void)
        )
        const closer = yield* Effect.forkChild(Effect.andThen(come, inSteps(close, dice)))
        const turns = dice.below(8)
        moment.when(() => afterTurns(turns, () => closer.interruptUnsafe()))
        yield* Fiber.await(closer)
        yield* Scope.close(scope, Exit.void)
        yield* Fiber.await(fiber)
      }
    }
    moment.reach()
    if (world.seen.onWire.has(number)) return yield* Effect.die(new Error(`${kind} is over and still on the wire`))
  })
