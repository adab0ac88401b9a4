/**
 * Deadlines of the whole client on a network in memory: when they end a call of each kind, what the error says it was
 * spent on, and what the server is told.
 */
import { assert, describe, it } from "@effect/vitest"
import { type Client, Deadline, Retry, type RpcError } from "@hawser/grpc"
import { isRpcError } from "@hawser/grpc/RpcError"
import { sendHeaders, type Status } from "@hawser/testing/Handler"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import * as Faults from "@hawser/testing/Faults"
import type { ClientFrame } from "@hawser/testing/Frame"
import * as Simulation from "@hawser/testing/Simulation"
import * as TestNetwork from "@hawser/testing/TestNetwork"
import type { VirtualClock } from "@hawser/testing/VirtualClock"
import { Cause, Clock, Effect, Exit, Stream } from "effect"
import type { OptionsError } from "@hawser/core/OptionsError"
import type { Scope } from "effect/Scope"
import { type definition, Echo, echo, type EchoHandlers, one } from "../support/testing/echo.ts"

const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

/** Runs a program under virtual time. */
const simulate = async <A, E>(
  program: (world: Simulation.World) => Effect.Effect<A, E, Scope>,
  seed = 1
): Promise<A> => {
  const { exit } = await Simulation.run({ seed, maxMillis: 3_600_000 }, program)
  if (Exit.isFailure(exit)) return assert.fail(Cause.pretty(exit.cause))
  return exit.value
}

const timeout = 200

type TestClient = Client.Client<typeof definition>
const requests = Stream.concat(Stream.make("ada"), Stream.never)

/** One call of each kind, run to its end. */
const kinds: Readonly<Record<string, (client: TestClient) => Effect.Effect<unknown, RpcError.RpcError>>> = {
  unary: (client) => client.say("ada", { timeout }),
  serverStreaming: (client) => Stream.runDrain(client.watch("ada", { timeout })),
  clientStreaming: (client) => client.upload(requests, { timeout }),
  bidiStreaming: (client) => Stream.runDrain(client.chat(requests, { timeout }))
}

/** Servers that never answer. */
const silent: EchoHandlers = {
  say: () => Effect.never,
  watch: () => Stream.never,
  upload: () => Effect.never,
  chat: () => Stream.never
}

/** Servers whose answers are so long that they take a while. */
const long = "x".repeat(100_000)
const lengthy: EchoHandlers = {
  say: () => Effect.succeed(long),
  watch: () => Stream.make(long),
  upload: () => Effect.succeed(long),
  chat: () => Stream.make(long)
}

/** Servers that answer once, and then nothing more: for kinds with many answers. */
const stalling: EchoHandlers = {
  ...silent,
  watch: () => Stream.concat(Stream.make("one"), Stream.never),
  chat: () => Stream.concat(Stream.make("one"), Stream.never)
}

type Trouble = Effect.Effect<unknown, OptionsError | RpcError.RpcError, Echo | TestNetwork.TestNetwork | Scope>

interface Row {
  readonly phase: RpcError.Phase
  readonly progress: RpcError.Progress
  /** What is so when the call begins. */
  readonly trouble: Trouble
  readonly handlers?: EchoHandlers
  readonly maxStreams?: number
  readonly waitForReady?: boolean
}

const connected = Effect.gen(function* () {
  const client = yield* Echo
  yield* Effect.exit(client.say("ada", { timeout: 20 }))
})

const table: Readonly<Record<string, Row>> = {
  "in the queue, for the only stream of the server is taken": {
    phase: "Queued",
    progress: "NotSent",
    maxStreams: 1,
    trouble: Effect.gen(function* () {
      const client = yield* Echo
      yield* Effect.forkScoped(Stream.runDrain(client.watch("first")))
      yield* Effect.sleep(50)
    })
  },
  "in the queue, for the server wants no calls": {
    phase: "Queued",
    progress: "NotSent",
    trouble: Effect.andThen(connected, Faults.inject(Faults.limit(one, 0)))
  },
  "while a connect gets no answer": {
    phase: "Connecting",
    progress: "NotSent",
    trouble: Faults.inject(Faults.blackHole(one))
  },
  "while the server does not greet": {
    phase: "Connecting",
    progress: "NotSent",
    trouble: Faults.inject(Faults.mute(one))
  },
  "on the wire, for the server never answers": {
    phase: "Sent",
    progress: "MaybeProcessed",
    trouble: Faults.inject(Faults.latency(one, 5))
  },
  "on the wire, for the line has died": {
    phase: "Sent",
    progress: "MaybeProcessed",
    trouble: Effect.andThen(connected, Faults.inject(Faults.silence(one)))
  },
  "on the wire, for the server is frozen": {
    phase: "Sent",
    progress: "MaybeProcessed",
    trouble: Effect.andThen(connected, Faults.inject(Faults.freeze(one)))
  },
  "after the headers, within the first message": {
    phase: "Receiving",
    progress: "Answered",
    handlers: lengthy,
    trouble: Effect.all([Faults.inject(Faults.latency(one, 5)), Faults.inject(Faults.bandwidth(one, 20_000))])
  }
}

const isMany = (kind: string) => kind === "serverStreaming" || kind === "bidiStreaming"

const stacks: Readonly<Record<string, Partial<GrpcOptions>>> = {
  "a client without retries": {},
  "a client with the defaults": { retry: Retry.make(), silence: { atLeast: "200 millis" } }
}

describe.each(Object.entries(stacks))("%s: a deadline that passes", (_, stack) => {
  const check = async (row: Row, call: (client: TestClient) => Effect.Effect<unknown, RpcError.RpcError>) => {
    const layer = echo(
      row.handlers ?? silent,
      { maxStreams: row.maxStreams },
      { connections: { min: 0, max: 1 }, ...stack }
    )
    const program = Effect.gen(function* () {
      yield* row.trouble
      const began = yield* now
      const error = yield* Effect.flip(call(yield* Echo))
      return { error, took: (yield* now) - began }
    })
    const { error, took } = await simulate(() => Effect.provide(program, layer))
    assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase: row.phase, by: "Us" })
    assert.deepInclude(error, { progress: row.progress, attempts: 1 })
    assert.isAtLeast(took, timeout)
    assert.isAtMost(took, timeout + 1)
    // All of it in the queue, or next to nothing.
    if (row.progress === "NotSent") assert.closeTo(error.waitedMillis, timeout, 1)
    else assert.isBelow(error.waitedMillis, timeout / 2)
  }

  for (const [where, row] of Object.entries(table)) {
    it.each(Object.entries(kinds))(`${where}: says ${row.phase}, %s`, (_, call) => check(row, call))
  }

  it.each(Object.entries(kinds).filter(([kind]) => isMany(kind)))(
    "after a message, and before the next: says Receiving, %s",
    (_, call) =>
      check(
        {
          phase: "Receiving",
          progress: "Answered",
          handlers: stalling,
          trouble: Faults.inject(Faults.latency(one, 5))
        },
        call
      )
  )

  it("while dials fail and the call waits that out: says Connecting", () =>
    check(
      {
        phase: "Connecting",
        progress: "NotSent",
        trouble: Effect.andThen(Faults.inject(Faults.refuse(one)), connected)
      },
      (client) => client.say("ada", { timeout, waitForReady: true })
    ))
})

/** Whose words it was, and how long a client would have waited. */
describe("a server that says itself that the time is up", () => {
  const refused: Status = { _tag: "DeadlineExceeded", details: "Deadline exceeded" }
  const ends: ReadonlyArray<readonly [string, EchoHandlers, RpcError.Phase, ReadonlyArray<string>]> = [
    [
      "in a status alone",
      {
        say: () => Effect.fail(refused),
        upload: () => Effect.fail(refused),
        watch: () => Stream.fail(refused),
        chat: () => Stream.fail(refused)
      },
      "Sent",
      ["unary", "clientStreaming", "serverStreaming", "bidiStreaming"]
    ],
    [
      "after its headers",
      {
        say: (_, call) => Effect.andThen(sendHeaders(call), Effect.fail(refused)),
        upload: (_, call) => Effect.andThen(sendHeaders(call), Effect.fail(refused)),
        watch: () => Stream.concat(Stream.make("one"), Stream.fail(refused)),
        chat: () => Stream.concat(Stream.make("one"), Stream.fail(refused))
      },
      "Receiving",
      ["unary", "clientStreaming", "serverStreaming", "bidiStreaming"]
    ]
  ]
  for (const [where, handlers, phase, names] of ends) {
    it.each(names)(`${where}: says ${phase} by Server, %s`, async (kind) => {
      const program = Effect.flatMap(Echo, (client) => Effect.flip(kinds[kind]!(client)))
      const error = await simulate(() => Effect.provide(program, echo(handlers)))
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase, by: "Server" })
      assert.deepInclude(error, { progress: "Answered", committed: phase === "Receiving" })
    })
  }
})

describe("the time of one attempt that passes", () => {
  const perAttempt = 100
  const retry = Retry.make({ perAttempt, maxAttempts: 2, resendable: true })
  /** What it is spent on decides what the error says, as for the whole call. */
  const spent = Object.entries(table).filter(([, row]) => row.maxStreams === undefined)
  for (const [where, row] of spent) {
    it.each(Object.keys(kinds))(`${where}: says ${row.phase}, %s`, async (kind) => {
      const client = { connections: { min: 0, max: 1 }, retry, deadline: "1 minute" as const }
      const layer = echo(row.handlers ?? silent, { maxStreams: row.maxStreams }, client)
      const call = (client: TestClient): Effect.Effect<unknown, RpcError.RpcError> => {
        const patient = { timeout: "30 seconds" } as const
        if (kind === "unary") return client.say("ada", patient)
        if (kind === "serverStreaming") return Stream.runDrain(client.watch("ada", patient))
        if (kind === "clientStreaming") return client.upload(requests, patient)
        return Stream.runDrain(client.chat(requests, patient))
      }
      const program = Effect.gen(function* () {
        yield* row.trouble
        return yield* Effect.exit(Effect.timeoutOption(call(yield* Echo), 25_000))
      })
      const exit = await simulate(() => Effect.provide(program, layer))
      // Streams that have their headers may go on for as long as the call.
      if (row.phase === "Receiving" && isMany(kind)) return assert.isTrue(Exit.isSuccess(exit))
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      if (!isRpcError(error)) return assert.fail(String(error))
      // Headers commit what is no unary to its first attempt; and what is left of the first answer holds up the second one.
      const begun = row.phase === "Receiving"
      const again = begun && kind === "unary"
      const phase = again ? "Sent" : row.phase
      assert.deepInclude(error.reason, { _tag: "DeadlineExceeded", phase, by: "Us" })
      assert.include(error.reason.details, "the attempt's own time of 100 ms is up")
      assert.strictEqual(error.progress, again ? "MaybeProcessed" : row.progress)
      assert.strictEqual(error.attempts, begun && !again ? 1 : 2)
    })
  }
})

/** What a server is told: when, how much time, and of which attempt. */
interface Told {
  readonly at: number
  readonly timeout: number
  readonly attempt: number
}

const told = Effect.gen(function* () {
  const { network } = yield* TestNetwork.TestNetwork
  const clock = yield* Clock.Clock
  const out: Array<Told> = []
  network.tap = (_, packet) => {
    if (packet._tag !== "Frame") return
    const frame = packet.frame as ClientFrame
    if (frame._tag !== "Headers" || !("timeout" in frame)) return
    out.push({ at: Number(clock.monotonicTimeNanosUnsafe()) / 1e6, timeout: frame.timeout, attempt: frame.attempt })
  }
  return out
})

const failing: EchoHandlers = { ...silent, say: () => Effect.fail({ _tag: "Unavailable" } as const) }
const patient = { retry: Retry.make({ maxAttempts: 6, resendable: true }) }

/** The clock of the world, with a wall clock that is set by hand. */
const skewed = (clock: VirtualClock, wall: { offset: number }): Clock.Clock =>
  Object.assign(Object.create(clock) as Clock.Clock, {
    currentTimeMillisUnsafe: () => clock.now + wall.offset,
    currentTimeMillis: Effect.sync(() => clock.now + wall.offset)
  })

describe("what the server is told of the deadline", () => {
  it("is what is left, anew for each attempt", async () => {
    const program = Effect.gen(function* () {
      const headers = yield* told
      const began = yield* now
      yield* Effect.exit(Effect.flatMap(Echo, (client) => client.say("ada", { timeout: 2_000 })))
      return { headers, began }
    })
    const { began, headers } = await simulate(() => Effect.provide(program, echo(failing, {}, patient)))
    assert.deepStrictEqual(
      headers.map(({ attempt }) => attempt),
      [1, 2, 3, 4, 5, 6].slice(0, headers.length)
    )
    assert.isAtLeast(headers.length, 3)
    for (const { at, timeout } of headers) assert.closeTo(timeout, began + 2_000 - at, 0.001)
  })

  it("is never below zero, nor later than the deadline, whenever the call gets through", async () => {
    const program = (timeout: number) =>
      Effect.gen(function* () {
        const headers = yield* told
        yield* Faults.inject(Faults.latency(one, 7, 5))
        const began = yield* now
        yield* Effect.exit(Effect.flatMap(Echo, (client) => client.say("ada", { timeout })))
        yield* Effect.sleep(100)
        return headers.map(({ at, timeout }) => ({ at: at - began, timeout }))
      })
    let sent = 0
    let unsent = 0
    for (let timeout = 1; timeout <= 80; timeout += 0.5) {
      const headers = await simulate(
        () => Effect.provide(program(timeout), echo(failing, {}, { ...patient, connections: { min: 0 } })),
        Math.round(timeout * 2)
      )
      sent += headers.length
      if (headers.length === 0) unsent++
      for (const told of headers) {
        assert.isAbove(told.timeout, 0)
        // On the line for 12 ms at most.
        assert.isAtMost(told.at - 12 + told.timeout, timeout + 0.001)
      }
    }
    assert.isAbove(sent, 50)
    assert.isAbove(unsent, 10)
  })

  it.each([86_400_000, -86_400_000])("does not change when the wall clock is set by %d ms", async (step) => {
    const wall = { offset: 1_800_000_000_000 }
    const program = Effect.gen(function* () {
      const headers = yield* told
      const began = yield* now
      yield* Effect.forkScoped(
        Effect.andThen(
          Effect.sleep(50),
          Effect.sync(() => (wall.offset += step))
        )
      )
      const client = yield* Echo
      const error = yield* Effect.flip(
        Deadline.adopt(client.watch("ada").pipe(Stream.runDrain), wall.offset + began + 1_000)
      )
      const took = (yield* now) - began
      const exit = yield* Effect.exit(Deadline.adopt(client.say("ada"), wall.offset + (yield* now) + 1_000))
      return { error, headers, took, began, exit }
    })
    const { began, error, headers, took } = await simulate((world) =>
      program.pipe(
        Effect.provide(echo({ ...failing, watch: () => Stream.never }, {}, patient)),
        Effect.provideService(Clock.Clock, skewed(world.clock, wall))
      )
    )
    // On a line without latency, both sides notice in the same millisecond.
    assert.deepInclude(error.reason, { _tag: "DeadlineExceeded" })
    assert.closeTo(took, 1_000, 1)
    assert.isAtLeast(headers.length, 3)
    const [first, ...rest] = headers
    assert.closeTo(first!.timeout, 1_000 - (first!.at - began), 0.001)
    for (const { at, timeout } of rest) assert.closeTo(timeout, began + took + 1_000 - at, 0.001)
  })
})
