/**
 * A call with many messages, one way or both.
 *
 * Backpressure is real in both directions. Answers are asked for one by one, and only while there is room for them;
 * requests are pulled from their stream only when the transport has taken the one before. The permit is held until the
 * last message, a failure, or until nobody wants the rest.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { SchedulerDispatcher } from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { BridgeCall, type BridgeOptions } from "./BridgeCall.ts"
import type { Call, Replies } from "./Call.ts"
import * as CallMetrics from "./CallMetrics.ts"
import type { Wire } from "./Connection.ts"
import * as Metadata from "./Metadata.ts"
import { of, type Progress, type RpcError } from "./RpcError.ts"
import * as Thrown from "./ThrownError.ts"

/**
 * So many answers at most wait here for their reader; what follows waits in the flow-control window of HTTP/2.
 *
 * **Details**: beyond those, a server is ahead of a reader by the rest of the batch that it is in (15 at most), 64 KiB that
 * Node reads before it stops, 64 KiB that the stream may send unasked, and the server's own queue. With messages of 10 kB
 * and a Node server that is 28 to 45, however many there are. The kernel's buffers hold none of it.
 */
export const window = 16

type End = Exit.Exit<never, RpcError | Cause.Done>
const finished: End = Exit.fail(Cause.Done())

type Batch<O> = Effect.Effect<readonly [O, ...Array<O>], RpcError | Cause.Done>

/**
 * Opens a stream: ends at the response headers, or where the call ends without any. The scope holds the call.
 *
 * **Details**: requests are run in a fiber of the scope, from the permit on, until the call ends. If it fails, the call is
 * cancelled and fails with the stream's own cause. A reader whose scope closes gets a `Cancelled`, for what came is not
 * all. The messages are run once: a second run is a `FailedPrecondition`, and leaves the first alone.
 */
export const open = <I, O>(
  call: Call<I, O>,
  options: BridgeOptions
): Effect.Effect<Replies<O, RpcError>, RpcError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const stream = new StreamCall<I, O>(call, options)
      yield* Effect.addFinalizer(() => Effect.sync(() => stream.interrupt()))
      if (call.requests !== undefined) stream.writer = yield* Effect.forkIn(stream.write(call.requests), scope)
      stream.begin()
      yield* restore(Deferred.await(stream.opened))
      return stream.replies()
    })
  )

/** Messages that are run once: a second run would have a part of those of the first. */
export const once = <A, E>(
  path: string,
  connection: string | undefined,
  messages: Stream.Stream<A, E>
): Stream.Stream<A, E | RpcError> => {
  let begun = false
  return Stream.suspend((): Stream.Stream<A, E | RpcError> => {
    const details = "The messages of a call can be run only once"
    if (begun) return Stream.fail(of(path, { _tag: "FailedPrecondition", details }, "Answered", { connection }))
    begun = true
    return messages
  })
}

class StreamCall<I, O> extends BridgeCall<I, O> {
  /** Done at the headers, or at the end where there are none. */
  readonly opened = Deferred.makeUnsafe<void, RpcError>()
  /** Runs the requests. */
  writer: Fiber.Fiber<void> | undefined = undefined
  private readonly onWire = Deferred.makeUnsafe<Wire>()
  private readonly trailers = Deferred.makeUnsafe<Metadata.Metadata>()
  private buffer: Array<Uint8Array> = []
  private reading = false
  private waking = false
  private dispatcher: SchedulerDispatcher | undefined = undefined
  private end: End | undefined = undefined
  private code: number | undefined = undefined
  private reader: ((batch: Batch<O>) => void) | undefined = undefined
  private readonly request: Uint8Array | undefined = undefined

  constructor(call: Call<I, O>, options: BridgeOptions) {
    super(call, options)
    if (call.requests === undefined) this.request = this.encode(call.input)
  }

  /** A stream is never overdue. */
  get method(): undefined {
    return undefined
  }

  begin(): void {
    if (!this.done) this.borrow()
  }

  replies(): Replies<O, RpcError> & CallMetrics.Told {
    const read = Stream.ensuring(
      Stream.fromPull(Effect.succeed(this.pull)),
      Effect.sync(() => this.interrupt())
    )
    return {
      [CallMetrics.told]: () => this.code,
      messages: once(this.path, this.lease?.id, read),
      headers: this.headers ?? Metadata.empty,
      trailers: Deferred.await(this.trailers),
      connection: this.lease?.id ?? ""
    }
  }

  /** Sends the requests, one by one. Interrupted with the end of the call. */
  write(input: Stream.Stream<I, unknown>): Effect.Effect<void> {
    const each = (wire: Wire) => (message: I) =>
      Effect.callback<void>((resume) => {
        const bytes = this.encode(message)
        if (bytes !== undefined) wire.send(bytes, () => resume(Effect.void))
      })
    return Effect.flatMap(Deferred.await(this.onWire), (wire) =>
      Effect.matchCause(Stream.runForEach(input, each(wire)), {
        // The caller's own error: the channel does not know its type, the client does.
        onFailure: (cause) => this.giveUp(Exit.failCause(cause as Cause.Cause<never>)),
        onSuccess: () => wire.end()
      })
    )
  }

  override onHeaders(metadata: Metadata.Metadata): void {
    super.onHeaders(metadata)
    this.lease?.responded()
    Deferred.doneUnsafe(this.opened, Exit.void)
  }

  onMessage(bytes: Uint8Array): void {
    this.reading = false
    if (this.done) return
    this.buffer.push(bytes)
    // What has come in one piece is given over one by one: the reader is woken for all of it, or for a full window.
    if (this.buffer.length >= window) return this.deliver()
    this.ask()
    if (this.waking || this.reader === undefined) return
    this.waking = true
    this.dispatcher!.scheduleTask(this.wake, 0)
  }

  protected started(wire: Wire): void {
    if (this.request !== undefined) {
      wire.send(this.request)
      wire.end()
    }
    Deferred.doneUnsafe(this.onWire, Exit.succeed(wire))
    this.ask()
  }

  protected succeeded(trailers: Metadata.Metadata): void {
    this.code = 0
    Deferred.doneUnsafe(this.trailers, Exit.succeed(trailers))
    this.settle(finished)
  }

  protected failed(error: RpcError): void {
    this.code = error.code
    Deferred.doneUnsafe(this.trailers, Exit.succeed(error.metadata ?? Metadata.empty))
    this.settle(Exit.fail(error))
  }

  /** Fails: a reader must not take it for the end of the messages. */
  override interrupt(): void {
    const sent: Progress = this.wire === undefined ? "NotSent" : "MaybeProcessed"
    const progress = this.headers === undefined ? sent : "Answered"
    this.stop({ _tag: "Cancelled", details: "Its scope was closed, or its reader has left" }, progress)
  }

  private giveUp(end: End): void {
    super.interrupt()
    Deferred.doneUnsafe(this.trailers, Exit.succeed(Metadata.empty))
    this.settle(end)
  }

  private settle(end: End): void {
    this.end = end
    Deferred.doneUnsafe(this.opened, end === finished ? Exit.void : (end as Exit.Exit<never, RpcError>))
    this.deliver()
    this.writer?.interruptUnsafe()
  }

  /** In the next turn of the reader's own scheduler. */
  private readonly wake = (): void => {
    this.waking = false
    this.deliver()
  }

  /** Asks for one more message. Not called while there is no room for it. */
  private ask(): void {
    if (this.done || this.reading) return
    this.reading = true
    this.wire?.read()
  }

  private readonly pull: Batch<O> = Effect.withFiber((fiber) => {
    this.dispatcher = fiber.currentDispatcher
    return this.next
  })

  private readonly next: Batch<O> = Effect.callback((resume) => {
    this.reader = resume
    this.deliver()
  })

  /** Hands what is there to the reader, if there is one. */
  private deliver(): void {
    const { buffer, reader } = this
    if (reader === undefined) return
    if (buffer.length === 0) {
      if (this.end === undefined) return
      this.reader = undefined
      return reader(this.end)
    }
    this.reader = undefined
    this.buffer = []
    const messages: Array<O> = []
    try {
      for (const bytes of buffer) messages.push(this.call.method.decode(bytes))
    } catch (thrown) {
      const cause = Thrown.of("response deserializer", thrown)
      const reason = { _tag: "Internal", details: "The response deserializer threw" } as const
      // It may have ended well before it was read.
      if (this.done) this.fail(reason, "Answered", { cause })
      else this.stop(reason, "Answered", { cause })
      if (messages.length === 0) return reader(this.end!)
    }
    reader(Effect.succeed(messages as [O, ...Array<O>]))
    this.ask()
  }
}
