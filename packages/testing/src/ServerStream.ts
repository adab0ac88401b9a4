/**
 * One call as a server of the virtual network sees it.
 *
 * It runs the handler in a fiber, gives it the requests as it takes them, and waits with answers until the client has
 * room. Whatever the handler does, the call gets one status.
 */
import { show } from "@hawser/core/OptionsError"
import * as Call from "@hawser/grpc/Call"
import * as Metadata from "@hawser/grpc/Metadata"
import * as RpcError from "@hawser/grpc/RpcError"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { type ClientFrame, headerBytes, type ServerFrame, windowBytes } from "./Frame.ts"
import { greetedBy, type Status, TestReply } from "./Handler.ts"
import type { Route } from "./Route.ts"
import type { Timers } from "./Timers.ts"

/** What a stream needs of its connection. */
export interface ServerStreamOwner {
  readonly timers: Timers
  send(frame: ServerFrame, bytes: number): void
  /** It is over on this side: with a status of the handler, or because the client, the line or the server gave up. */
  streamEnded(stream: ServerStream, completed: boolean): void
  run(effect: Effect.Effect<void>): Fiber.Fiber<void>
}

type Headers = Extract<ClientFrame, { _tag: "Headers" }>

const mark: Metadata.Entry = ["content-type", "application/grpc+proto"]
const received = (entries: ReadonlyArray<Metadata.Entry>): Metadata.Metadata => Metadata.received((e) => e, entries)
const bare = received([mark])
const marked = (metadata: Metadata.Metadata): Metadata.Metadata =>
  metadata.size === 0 ? bare : received([mark, ...metadata.entries])

/** One call. */
export class ServerStream {
  readonly id: number
  readonly path: string
  private readonly headers: Headers
  private readonly route: Route
  private readonly owner: ServerStreamOwner
  private readonly inbox: Array<Uint8Array> = []
  /** Whether the client has said that no request follows. */
  halfClosed = false
  /** Somebody waits for a request. */
  private wake: (() => void) | undefined = undefined
  private fiber: Fiber.Fiber<void> | undefined = undefined
  private cancelTimer: (() => void) | undefined = undefined
  private window = windowBytes
  private room: Deferred.Deferred<void> | undefined = undefined
  private answering = false
  private over = false

  constructor(headers: Headers, route: Route, owner: ServerStreamOwner) {
    this.id = headers.stream
    this.path = headers.path
    this.headers = headers
    this.route = route
    this.owner = owner
  }

  /** Starts the handler. */
  start(): void {
    const { timeout } = this.headers
    if (timeout < Infinity) {
      this.cancelTimer = this.owner.timers.after(timeout, () => this.status(4, "Deadline exceeded", Metadata.empty))
    }
    this.fiber = this.owner.run(Effect.matchCauseEager(this.work, { onFailure: this.failed, onSuccess: () => {} }))
    if (this.over) this.fiber.interruptUnsafe()
  }

  onFrame(frame: Exclude<ClientFrame, { _tag: "Headers" | "SettingsAck" | "Ping" | "PingAck" }>): void {
    if (this.over) return
    switch (frame._tag) {
      case "Data":
        this.inbox.push(frame.bytes)
        return this.wake?.()
      case "End":
        this.halfClosed = true
        return this.wake?.()
      case "Reset":
        return this.finish(false)
      case "WindowUpdate":
        this.window += frame.bytes
        if (this.window > 0 && this.room !== undefined) Deferred.doneUnsafe(this.room, Effect.void)
    }
  }

  /** Answers with a status, whatever the handler does. */
  status(code: number, details: string, metadata: Metadata.Metadata): void {
    if (this.over) return
    // Trailers that come alone carry what headers would have said.
    const trailers = this.answering ? metadata : marked(metadata)
    this.owner.send({ _tag: "Trailers", stream: this.id, code, details, metadata: trailers }, headerBytes)
    this.finish(true)
  }

  /** RST_STREAM. */
  reset(code: number): void {
    if (this.over) return
    this.owner.send({ _tag: "Reset", stream: this.id, code }, 4)
    this.finish(false)
  }

  /** The connection has gone. */
  lost(): void {
    this.finish(false)
  }

  private finish(completed: boolean): void {
    if (this.over) return
    this.over = true
    this.cancelTimer?.()
    this.fiber?.interruptUnsafe()
    this.owner.streamEnded(this, completed)
  }

  private get work(): Effect.Effect<void, RpcError.RpcError | Status> {
    return Effect.suspend(() => {
      const { requestStream, responseStream } = this.route
      const input = requestStream ? Effect.succeed(this.messages) : this.single
      return Effect.flatMap(input, (value) =>
        responseStream ? this.many(this.route.handler(value as never, this.call(value))) : this.one(value)
      )
    })
  }

  private call(input: unknown): Call.Call<unknown, unknown> {
    const { attempt, metadata, timeout } = this.headers
    const { requestStream, responseStream } = this.route
    const kind = requestStream
      ? responseStream
        ? "bidiStreaming"
        : "clientStreaming"
      : responseStream
        ? "serverStreaming"
        : "unary"
    const { route } = this
    const made = Call.make<unknown, unknown>(
      {
        path: this.path,
        kind,
        idempotency: "Unknown",
        encode: route.responseSerialize,
        decode: (bytes) => route.requestDeserialize(Buffer.from(bytes))
      },
      input,
      { metadata, attempt, deadline: this.owner.timers.now() + timeout }
    )
    return greetedBy(made, (headers) => this.greet(headers))
  }

  /** The one request of methods that take one. */
  private get single(): Effect.Effect<unknown, Status> {
    return Effect.matchEffect(this.next, {
      onFailure: () => Effect.fail<Status>({ _tag: "Unimplemented", details: "no request" }),
      onSuccess: Effect.succeed
    })
  }

  /** The next request, or the end of them. Taking it makes room for another. */
  private readonly next: Effect.Effect<unknown, Cause.Done> = Effect.callback((resume) => {
    const give = (): void => {
      const bytes = this.inbox.shift()
      if (bytes === undefined && !this.halfClosed) {
        this.wake = give
        return
      }
      this.wake = undefined
      if (bytes === undefined) return resume(Effect.fail(Cause.Done()))
      this.owner.send({ _tag: "WindowUpdate", stream: this.id, bytes: bytes.length }, 4)
      const deserialize = this.route.requestDeserialize
      resume(Effect.sync(() => deserialize(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))))
    }
    give()
    return Effect.sync(() => {
      this.wake = undefined
    })
  })

  private get messages(): Stream.Stream<unknown> {
    return Stream.fromPull(Effect.succeed(Effect.map(this.next, (message) => [message] as const)))
  }

  private one(value: unknown): Effect.Effect<void, RpcError.RpcError | Status> {
    const answer = this.route.handler(value as never, this.call(value)) as Effect.Effect<unknown, Status>
    if (!Effect.isEffect(answer)) return Effect.die(new Error("a method with one answer needs an Effect"))
    return Effect.map(answer, (value) => {
      const { headers, message, trailers } =
        value instanceof TestReply ? value : { message: value, headers: Metadata.empty, trailers: Metadata.empty }
      this.greet(headers)
      this.data(message)
      this.status(0, "", trailers)
    })
  }

  private many(answer: unknown): Effect.Effect<void, RpcError.RpcError | Status> {
    if (!Stream.isStream(answer)) return Effect.die(new Error("a method with many answers needs a Stream"))
    return Effect.map(
      Stream.runForEach(answer as Stream.Stream<unknown, Status>, (message) =>
        Effect.andThen(
          this.waitForRoom,
          Effect.sync(() => {
            this.greet(Metadata.empty)
            this.data(message)
          })
        )
      ),
      // Without a message the status comes alone, as from grpc-js's server.
      () => this.status(0, "", Metadata.empty)
    )
  }

  private readonly waitForRoom: Effect.Effect<void> = Effect.suspend(() => {
    if (this.window > 0) return Effect.void
    this.room = Deferred.makeUnsafe<void>()
    return Deferred.await(this.room)
  })

  /** Sends headers, unless they were sent. */
  greet(headers: Metadata.Metadata): void {
    if (this.answering || this.over) return
    this.answering = true
    this.owner.send({ _tag: "Headers", stream: this.id, metadata: marked(headers) }, headerBytes)
  }

  /** Sends a message, whether there is room for it or not. */
  data(message: unknown): void {
    if (this.over) return
    const bytes = this.route.responseSerialize(message)
    this.window -= bytes.length
    this.owner.send({ _tag: "Data", stream: this.id, bytes }, bytes.length)
  }

  private readonly failed = (cause: Cause.Cause<RpcError.RpcError | Status>): void => {
    const fail = cause.reasons.find(Cause.isFailReason)
    if (fail === undefined) {
      // Interrupted by its own doing: whoever else interrupts it has ended the call before.
      if (Cause.hasInterruptsOnly(cause)) return this.status(1, "the handler was interrupted", Metadata.empty)
      const defect = Cause.squash(cause)
      return this.status(13, `the handler died: ${defect instanceof Error ? defect.message : defect}`, Metadata.empty)
    }
    const status = RpcError.isRpcError(fail.error) ? fail.error.reason : fail.error
    // The types may have been bypassed.
    if (!Object.hasOwn(RpcError.codes, String(status?._tag))) {
      return this.status(2, `the handler failed with what is no status: ${show(status)}`, Metadata.empty)
    }
    const { metadata = Metadata.empty } = fail.error
    this.status(RpcError.codes[status._tag], status.details ?? "", metadata)
  }
}
