/**
 * One call on a grpc-js server, and the fiber of its handler.
 *
 * grpc-js hands out bytes and takes bytes: messages are read and written here, so that what a codec throws is a status and
 * not a crash. Requests are read as the handler takes them, and an answer is written when the one before has left; a call
 * that is over, for whatever reason, interrupts its handler.
 */
import type * as grpc from "@grpc/grpc-js"
import * as Call from "@hawser/grpc/Call"
import * as Deadline from "@hawser/grpc/Deadline"
import { toGrpcJs } from "@hawser/grpc/GrpcJsCall"
import * as Metadata from "@hawser/grpc/Metadata"
import * as Method from "@hawser/grpc/Method"
import * as RpcError from "@hawser/grpc/RpcError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { greetedBy, reply, type Status, TestReply } from "./Handler.ts"

/** A method as generators describe it, and its handler if it has one. */
export interface Served {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly requestDeserialize: (bytes: Buffer) => unknown
  readonly responseSerialize: (value: never) => Uint8Array
  readonly handler: ((input: never, call: Call.Call<unknown, unknown>) => unknown) | undefined
}

/** Who is told of calls. */
export interface CallOwner {
  readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly record: (call: Call.Call<unknown, unknown>) => void
  /** What a handler or a codec threw. */
  readonly defect: (defect: unknown) => void
}

type Surface =
  | grpc.ServerUnaryCall<Buffer, Buffer>
  | grpc.ServerReadableStream<Buffer, Buffer>
  | grpc.ServerWritableStream<Buffer, Buffer>
  | grpc.ServerDuplexStream<Buffer, Buffer>

type Readable = Extract<Surface, { read: unknown }>
type Writable = Extract<Surface, { write: unknown }>

/** Longer ones might not fit into a header. */
const maxDetails = 1_000

/** Lets a server answer a method. One that it answers already stays as it is. */
export const serve = (server: grpc.Server, served: Served, owner: CallOwner): void => {
  const answer = (surface: Surface, callback?: grpc.sendUnaryData<Buffer>): void =>
    new ServerCall(served, owner, surface, callback).start()
  const type = kinds[Method.kindOf(served)]
  // A request of no bytes is an object, too: grpc-js takes what is falsy for no request at all.
  server.register<Buffer, Buffer>(served.path, answer, asBuffer, asBuffer, type)
}

const kinds = {
  unary: "unary",
  clientStreaming: "clientStream",
  serverStreaming: "serverStream",
  bidiStreaming: "bidi"
} as const

class ServerCall {
  private readonly served: Served
  private readonly owner: CallOwner
  private readonly surface: Surface
  private readonly answer: grpc.sendUnaryData<Buffer> | undefined
  private fiber: Fiber.Fiber<void> | undefined = undefined
  private over = false
  private greeted = false

  constructor(served: Served, owner: CallOwner, surface: Surface, answer: grpc.sendUnaryData<Buffer> | undefined) {
    this.served = served
    this.owner = owner
    this.surface = surface
    this.answer = answer
  }

  start(): void {
    // Said at the end of every call: by the client, by the loss of the connection, by the deadline, or by its status.
    const surface: NodeJS.EventEmitter = this.surface
    surface.on("cancelled", () => this.stop())
    this.fiber = this.owner.run(Effect.matchCause(this.work, { onFailure: this.failed, onSuccess: this.ended }))
    if (this.over) this.fiber.interruptUnsafe()
  }

  /** Nobody waits for it any more. */
  private stop(): void {
    this.over = true
    this.fiber?.interruptUnsafe()
  }

  private get work(): Effect.Effect<Metadata.Metadata, RpcError.RpcError | Status> {
    const { metadata } = this.surface
    const millis = Number(this.surface.getDeadline()) - Date.now()
    const run = Effect.withFiber((fiber) => {
      const deadline = Deadline.nowUnsafe(fiber) + millis
      const requests = this.served.requestStream ? this.requests : undefined
      const attempt = 1 + Number(metadata.get("grpc-previous-rpc-attempts")[0] ?? 0)
      const input = requests ?? this.served.requestDeserialize((this.surface as { readonly request: Buffer }).request)
      const call = Call.make<unknown, unknown>(this.method, input, {
        attempt: Number.isInteger(attempt) ? attempt : 1,
        deadline,
        metadata: Metadata.received(entries, metadata),
        requests
      })
      this.owner.record(call)
      greetedBy(call, (headers) => this.greet(headers))
      const { handler, responseStream } = this.served
      if (handler === undefined) {
        return Effect.fail<Status>({ _tag: "Unimplemented", details: "no handler for this method" })
      }
      const answer = handler(input as never, call)
      return responseStream ? this.many(answer) : this.one(answer)
    })
    return millis === Infinity ? run : Deadline.within(run, millis)
  }

  private get method(): Method.Method<unknown, unknown> {
    const { path, requestDeserialize, responseSerialize } = this.served
    const kind = Method.kindOf(this.served)
    const decode = (bytes: Uint8Array) => requestDeserialize(asBuffer(bytes))
    return { path, kind, idempotency: "Unknown", encode: responseSerialize as (value: unknown) => Uint8Array, decode }
  }

  private one(answer: unknown): Effect.Effect<Metadata.Metadata, RpcError.RpcError | Status> {
    if (!Effect.isEffect(answer)) {
      return Effect.die(new Error("a method with one answer needs a handler that gives an Effect"))
    }
    return Effect.map(answer as Effect.Effect<unknown, Status>, (value) => {
      const { headers, message, trailers } = value instanceof TestReply ? value : reply(value)
      const bytes = asBuffer(this.served.responseSerialize(message as never))
      const end = wire(trailers)
      if (headers.size > 0) this.greet(headers)
      if (!this.over) this.answer!(null, bytes, end)
      return trailers
    })
  }

  /** Sends headers, unless they were sent. */
  private greet(headers: Metadata.Metadata): void {
    if (this.greeted || this.over) return
    this.greeted = true
    this.surface.sendMetadata(wire(headers))
  }

  private many(answer: unknown): Effect.Effect<Metadata.Metadata, RpcError.RpcError | Status> {
    if (!Stream.isStream(answer)) {
      return Effect.die(new Error("a method with many answers needs a handler that gives a Stream"))
    }
    const each = (message: unknown) =>
      Effect.callback<void>((resume) => {
        const bytes = asBuffer(this.served.responseSerialize(message as never))
        ;(this.surface as Writable).write(bytes, () => resume(Effect.void))
      })
    return Effect.as(Stream.runForEach(answer as Stream.Stream<unknown, Status>, each), Metadata.empty)
  }

  private readonly ended = (): void => {
    if (!this.over && this.served.responseStream) (this.surface as Writable).end()
    this.over = true
  }

  private readonly failed = (cause: Cause.Cause<RpcError.RpcError | Status>): void => {
    const { details = "", metadata, tag } = statusOf(cause, this.owner.defect)
    if (this.over) return
    const error = {
      code: RpcError.codes[tag],
      // grpc-js would throw at half of a surrogate pair.
      details: Buffer.from(details.slice(0, maxDetails)).toString(),
      ...(metadata === undefined ? {} : { metadata })
    }
    if (this.served.responseStream) this.surface.emit("error", error)
    else this.answer!(error)
    this.over = true
  }

  /** Read one by one, as they are taken; to be run once. */
  private get requests(): Stream.Stream<unknown> {
    const readable = this.surface as Readable
    const take = (): Effect.Effect<readonly [unknown], Cause.Done> | undefined => {
      const bytes = readable.read()
      if (bytes !== null) return Effect.sync(() => [this.served.requestDeserialize(bytes)])
      return readable.readableEnded ? Effect.fail(Cause.Done()) : undefined
    }
    return Stream.fromPull(
      Effect.succeed(
        Effect.callback((resume) => {
          const look = () => {
            const taken = take()
            if (taken === undefined) return
            off()
            resume(taken)
          }
          const off = () => void readable.off("readable", look).off("end", look)
          readable.on("readable", look).on("end", look)
          look()
          return Effect.sync(off)
        })
      )
    )
  }
}

interface Ending {
  readonly tag: RpcError.Tag
  readonly details?: string | undefined
  readonly metadata?: grpc.Metadata | undefined
}

const statusOf = (cause: Cause.Cause<RpcError.RpcError | Status>, note: (defect: unknown) => void): Ending => {
  const crash = (defect: unknown): Ending => {
    note(defect)
    const text = defect instanceof Error ? defect.message : String(defect)
    return { tag: "Internal", details: `could not handle the call: ${text}` }
  }
  const defect = cause.reasons.find(Cause.isDieReason)
  if (defect !== undefined) return crash(defect.defect)
  const fail = cause.reasons.find(Cause.isFailReason)
  // Nobody but the handler itself can have interrupted it.
  if (fail === undefined) return { tag: "Cancelled", details: "the handler interrupted itself" }
  const { error } = fail
  try {
    const { _tag: tag, details } = RpcError.isRpcError(error) ? error.reason : error
    if (RpcError.codes[tag] === undefined) throw new Error("a handler fails with a status or an RpcError")
    return { tag, details, metadata: error.metadata === undefined ? undefined : wire(error.metadata) }
  } catch (defect) {
    return crash(defect)
  }
}

/** Throws for metadata that can't be sent. */
const wire = (metadata: Metadata.Metadata): grpc.Metadata => {
  const problem = Metadata.problem(metadata)
  if (problem !== undefined) throw new Error(problem)
  return toGrpcJs(metadata, 1)
}

function* entries(metadata: grpc.Metadata): Generator<Metadata.Entry> {
  for (const key of Object.keys(metadata.getMap())) for (const value of metadata.get(key)) yield [key, value]
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
