/**
 * A call and its handler, with no wire between them.
 *
 * One fiber is the server's side of a stream: it runs the handler, and the requests in a fiber beside it. Two bounded
 * queues are the wire, so that a slow side holds the other back. Whatever ends that fiber ends the call: the handler's
 * end, the failure of the requests, the deadline, or the reader who leaves.
 */
import type { Call, Replies, Reply } from "@hawser/grpc/Call"
import * as Deadline from "@hawser/grpc/Deadline"
import * as Metadata from "@hawser/grpc/Metadata"
import * as RpcError from "@hawser/grpc/RpcError"
import { once } from "@hawser/grpc/StreamCall"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { greetedBy, reply, type Status, TestReply } from "./Handler.ts"

/** The server's half of a method's codecs; where it is missing, messages stay as they are. */
export interface Codec {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly requestDeserialize?: ((bytes: Buffer) => unknown) | undefined
  readonly responseSerialize?: ((value: unknown) => Uint8Array) | undefined
}

/** A handler of any kind, and how messages get to it. */
export interface Server {
  readonly handler: (input: never, call: Call<unknown, unknown>) => unknown
  readonly codec: Codec | undefined
}

/** Finds the handler of a call, and keeps the call. */
export interface Servers {
  readonly get: (path: string) => Server | undefined
  readonly record: (call: Call<unknown, unknown>) => void
}

/** So many messages at most wait here for whoever reads them. */
const window = 16

type Failure = RpcError.RpcError | Status

/** A call with one answer: unary and client-streaming methods. */
export const unary = <I, O>(call: Call<I, O>, servers: Servers): Effect.Effect<Reply<O>, RpcError.RpcError> =>
  Effect.suspend(() => {
    let early: Metadata.Metadata | undefined = undefined
    const greet = (headers: Metadata.Metadata): void => {
      if (early !== undefined) return
      early = headers
      call.committed?.()
    }
    const work = served(
      call,
      servers,
      (answer, server) =>
        Effect.flatMap(
          handled(call, () => oneOf<O>(answer())),
          (value) => {
            const { headers, message, trailers } = value instanceof TestReply ? value : reply(value)
            return Effect.map(sent(call, server, message), (message) => ({
              message,
              headers: early ?? headers,
              trailers,
              connection: "test#1"
            }))
          }
        ),
      greet
    )
    const phase = () => (early === undefined ? "Sent" : "Receiving")
    return Effect.mapError(limited(call, phase, work), (error) =>
      early === undefined || !RpcError.isRpcError(error) ? error : committed(error)
    )
  })

/** The same error, of a call whose headers were here. */
const committed = (error: RpcError.RpcError): RpcError.RpcError =>
  RpcError.of(error.method, error.reason, error.progress === "MaybeProcessed" ? "Answered" : error.progress, {
    ...error,
    committed: true
  })

/** A call with many answers. Ends at the first of them, or where there is none. The scope holds the call. */
export const stream = <I, O>(
  call: Call<I, O>,
  servers: Servers
): Effect.Effect<Replies<O, RpcError.RpcError>, RpcError.RpcError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const opened = Deferred.makeUnsafe<void, RpcError.RpcError>()
      const trailers = Deferred.makeUnsafe<Metadata.Metadata>()
      const outbox = yield* Queue.bounded<O, RpcError.RpcError | Cause.Done>(window)
      const work = served(call, servers, (answer, server) => {
        const each = (message: O) =>
          Effect.flatMap(sent(call, server, message), (message) => {
            Deferred.doneUnsafe(opened, Exit.void)
            return Queue.offer(outbox, message)
          })
        return handled(call, () => Stream.runForEach(manyOf<O>(answer()), each))
      })
      const phase = () => (Deferred.isDoneUnsafe(opened) ? "Receiving" : "Sent")
      // At once, so that calls are recorded in the order in which they began.
      const fiber = yield* Effect.forkIn(limited(call, phase, work), yield* Effect.scope, { startImmediately: true })
      fiber.addObserver((exit) => {
        if (exit._tag === "Success") Queue.endUnsafe(outbox)
        else if (Cause.hasInterruptsOnly(exit.cause)) Queue.failCauseUnsafe(outbox, Cause.fail(cancelled(call)))
        else Queue.failCauseUnsafe(outbox, exit.cause)
        Deferred.doneUnsafe(opened, exit)
        Deferred.doneUnsafe(trailers, Exit.succeed(trailersOf(exit)))
      })
      yield* restore(Deferred.await(opened))
      return {
        messages: once(call.method.path, "test#1", Stream.ensuring(Stream.fromQueue(outbox), Fiber.interrupt(fiber))),
        headers: Metadata.empty,
        trailers: Deferred.await(trailers),
        connection: "test#1"
      }
    })
  )

/** For whoever still reads when the scope of the call closes: what came is not all. */
const cancelled = <I, O>({ method }: Call<I, O>): RpcError.RpcError =>
  RpcError.of(method.path, { _tag: "Cancelled", details: "Its scope was closed, or its reader has left" }, "Answered", {
    connection: "test#1"
  })

const trailersOf = (exit: Exit.Exit<void, RpcError.RpcError>): Metadata.Metadata => {
  const fail = exit._tag === "Failure" ? exit.cause.reasons.find(Cause.isFailReason) : undefined
  // The error of a stream of requests is the caller's own, and not of this type.
  return RpcError.isRpcError(fail?.error) ? (fail.error.metadata ?? Metadata.empty) : Metadata.empty
}

/** Gives the handler its input, one request or a stream of them, and the call to `run`. */
const served = <I, O, A>(
  call: Call<I, O>,
  { get, record }: Servers,
  run: (answer: () => unknown, server: Server) => Effect.Effect<A, RpcError.RpcError>,
  greet: (headers: Metadata.Metadata) => void = () => {}
): Effect.Effect<A, RpcError.RpcError> =>
  Effect.suspend(() => {
    const problem = Metadata.problem(call.metadata)
    if (problem !== undefined) return fail(call, { _tag: "InvalidArgument", details: problem }, "NotSent")
    const server = get(call.method.path)
    const unimplemented = () => fail(call, { _tag: "Unimplemented", details: "no handler for this method" })
    const { requests } = call
    if (requests !== undefined) {
      const received = greetedBy({ ...call } as Call<unknown, unknown>, greet)
      record(received)
      if (server === undefined) return unimplemented()
      return Effect.flatMap(Queue.bounded<unknown, Cause.Done>(window), (inbox) =>
        Effect.raceFirst(
          run(() => server.handler(Stream.fromQueue(inbox) as never, received), server),
          write(call, requests, server, inbox)
        )
      )
    }
    const bytes = attempt(() => asBuffer(call.method.encode(call.input)))
    if ("defect" in bytes) return fail(call, internal("encode the request", bytes.defect), "NotSent", bytes.defect)
    const input = attempt(() => decoded(server, bytes.value, call.input))
    const taken = { ...call, input: "defect" in input ? call.input : input.value } as Call<unknown, unknown>
    const received = greetedBy(taken, greet)
    record(received)
    if (server === undefined) return unimplemented()
    if ("defect" in input) return fail(call, internal("decode the request", input.defect), "Answered", input.defect)
    return run(() => server.handler(input.value as never, received), server)
  })

/** Sends the requests, one by one. Never ends well: the end of the requests is not that of the call. */
const write = <I, O>(
  call: Call<I, O>,
  requests: Stream.Stream<I, unknown>,
  server: Server,
  inbox: Queue.Queue<unknown, Cause.Done>
): Effect.Effect<never, RpcError.RpcError> => {
  const each = (message: I): Effect.Effect<unknown, RpcError.RpcError> => {
    const bytes = attempt(() => asBuffer(call.method.encode(message)))
    if ("defect" in bytes) {
      return fail(call, internal("encode the request", bytes.defect), "MaybeProcessed", bytes.defect)
    }
    const input = attempt(() => decoded(server, bytes.value, message))
    return "defect" in input
      ? fail(call, internal("decode the request", input.defect), "Answered", input.defect)
      : Queue.offer(inbox, input.value)
  }
  // The caller's own error: the channel does not know its type, the client does.
  const written = Stream.runForEach(requests, each) as Effect.Effect<void, RpcError.RpcError>
  return written.pipe(Effect.andThen(Queue.end(inbox)), Effect.andThen(Effect.never))
}

const decoded = (server: Server | undefined, bytes: Buffer, value: unknown): unknown => {
  const deserialize = server?.codec?.requestDeserialize
  return deserialize === undefined ? value : deserialize(bytes)
}

/** An answer as it arrives. */
const sent = <I, O>(call: Call<I, O>, { codec }: Server, message: O): Effect.Effect<O, RpcError.RpcError> => {
  const serialize = codec?.responseSerialize
  if (serialize === undefined) return Effect.succeed(message)
  const out = attempt(() => call.method.decode(asBuffer(serialize(message))))
  return "defect" in out
    ? fail(call, internal("send the answer through its codec", out.defect), "Answered", out.defect)
    : Effect.succeed(out.value)
}

const oneOf = <O>(answer: unknown): Effect.Effect<O | TestReply<O>, Failure> =>
  Effect.isEffect(answer)
    ? (answer as Effect.Effect<O, Failure>)
    : Effect.die(new Error("a method with one answer needs a handler that gives an Effect"))

const manyOf = <O>(answer: unknown): Stream.Stream<O, Failure> =>
  Stream.isStream(answer)
    ? (answer as Stream.Stream<O, Failure>)
    : Stream.die(new Error("a method with many answers needs a handler that gives a Stream"))

/** What the handler does, with its failures as the server would answer them. */
const handled = <I, O, A>(
  call: Call<I, O>,
  handle: () => Effect.Effect<A, Failure>
): Effect.Effect<A, RpcError.RpcError> => Effect.catchCause(Effect.suspend(handle), (cause) => failed(call, cause))

const limited = <I, O, A>(
  call: Call<I, O>,
  phase: () => RpcError.Phase,
  work: Effect.Effect<A, RpcError.RpcError>
): Effect.Effect<A, RpcError.RpcError> => {
  const { deadline } = call
  if (deadline === undefined || deadline === Infinity) return work
  return Effect.withFiber((fiber) =>
    Effect.timeoutOrElse(work, {
      duration: Math.max(0, deadline - Deadline.nowUnsafe(fiber)),
      orElse: () =>
        fail(call, { _tag: "DeadlineExceeded", details: "Deadline exceeded" }, "MaybeProcessed", undefined, phase())
    })
  )
}

const failed = <I, O>(call: Call<I, O>, cause: Cause.Cause<Failure>): Effect.Effect<never, RpcError.RpcError> => {
  if (Cause.hasInterrupts(cause)) return Effect.failCause(cause as Cause.Cause<never>)
  const defect = cause.reasons.find(Cause.isDieReason)
  if (defect !== undefined) return fail(call, internal("handle the call", defect.defect), "Answered", defect.defect)
  const { error } = cause.reasons.find(Cause.isFailReason)!
  return RpcError.isRpcError(error) ? Effect.fail(error) : fail(call, error)
}

const fail = <I, O>(
  call: Call<I, O>,
  { _tag, details = "", metadata }: Status,
  progress: RpcError.Progress = "Answered",
  cause?: unknown,
  phase: RpcError.Phase = "Sent"
): Effect.Effect<never, RpcError.RpcError> => {
  const by = progress === "Answered" ? "Server" : "Us"
  const reason: RpcError.RpcReason =
    _tag === "DeadlineExceeded"
      ? { _tag, details, phase, by }
      : _tag === "ResourceExhausted"
        ? { _tag, details, by }
        : _tag === "Unavailable"
          ? { _tag, details, connect: undefined }
          : { _tag, details }
  const at = progress === "NotSent" ? {} : { endpoint: "test", connection: "test#1" }
  return Effect.fail(
    RpcError.of(call.method.path, reason, progress, { attempts: call.attempt, metadata, cause, ...at })
  )
}

const internal = (what: string, defect: unknown): Status => ({
  _tag: "Internal",
  details: `could not ${what}: ${defect instanceof Error ? defect.message : String(defect)}`
})

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const attempt = <A>(f: () => A): { readonly value: A } | { readonly defect: unknown } => {
  try {
    return { value: f() }
  } catch (defect) {
    return { defect }
  }
}
