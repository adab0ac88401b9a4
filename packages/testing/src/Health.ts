/**
 * The health protocol of gRPC (`grpc.health.v1`): its two messages, and the state behind a server's answers.
 *
 * The messages have one field each, so they are written by hand: no generator, no dependency.
 */
import type { Status } from "./Handler.ts"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"

/** What a server says of a service. `ServiceUnknown`: it has no such service. */
export type ServingStatus = "Unknown" | "Serving" | "NotServing" | "ServiceUnknown"

/** By number. */
const statuses: ReadonlyArray<ServingStatus> = ["Unknown", "Serving", "NotServing", "ServiceUnknown"]

/** HealthCheckRequest. */
export interface HealthCheckRequest {
  /** The full name of a service; `""`: the server as a whole. */
  readonly service: string
}

/** HealthCheckResponse. */
export interface HealthCheckResponse {
  readonly status: ServingStatus
}

/** Reads the fields of a message: number, wire type, and value or bytes. Throws where the bytes are no message. */
function* fields(bytes: Uint8Array): Generator<readonly [field: number, value: number | Uint8Array]> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let power = 0; power < 10; power++) {
      const byte = bytes[at++]
      if (byte === undefined) throw new Error("truncated message")
      value += (byte & 0x7f) * 128 ** power
      if (byte < 0x80) return value
    }
    throw new Error("varint of more than 10 bytes")
  }
  const skip = (length: number): Uint8Array => {
    if (at + length > bytes.length) throw new Error("truncated message")
    return bytes.subarray(at, (at += length))
  }
  while (at < bytes.length) {
    const tag = varint()
    const field = Math.floor(tag / 8)
    const type = tag % 8
    if (field === 0) throw new Error("field number 0")
    if (type === 0) yield [field, varint()]
    else if (type === 1) yield [field, skip(8)]
    else if (type === 2) yield [field, skip(varint())]
    else if (type === 5) yield [field, skip(4)]
    else throw new Error(`wire type ${type}`)
  }
}

const varintOf = (value: number): ReadonlyArray<number> =>
  value < 128 ? [value] : [(value % 128) + 128, ...varintOf(Math.floor(value / 128))]

const request = {
  serialize: ({ service }: HealthCheckRequest): Buffer => {
    const text = Buffer.from(service)
    return text.length === 0 ? text : Buffer.concat([Buffer.from([0x0a, ...varintOf(text.length)]), text])
  },
  deserialize: (bytes: Uint8Array): HealthCheckRequest => {
    let service = ""
    for (const [field, value] of fields(bytes)) {
      if (field === 1 && typeof value !== "number") service = Buffer.from(value).toString()
    }
    return { service }
  }
}

const response = {
  serialize: ({ status }: HealthCheckResponse): Buffer => {
    const number = statuses.indexOf(status)
    return Buffer.from(number === 0 ? [] : [0x08, number])
  },
  deserialize: (bytes: Uint8Array): HealthCheckResponse => {
    let number = 0
    for (const [field, value] of fields(bytes)) if (field === 1 && typeof value === "number") number = value
    return { status: statuses[number] ?? "Unknown" }
  }
}

const codecs = {
  requestSerialize: request.serialize,
  requestDeserialize: request.deserialize,
  responseSerialize: response.serialize,
  responseDeserialize: response.deserialize
}

/**
 * The service `grpc.health.v1.Health`, for clients and servers.
 *
 * ```ts import.meta.vitest
 * import { Client } from "@hawser/grpc"
 * import * as Health from "@hawser/testing/Health"
 *
 * class Probe extends Client.Service<Probe>()("app/Probe", Health.HealthService, { idempotent: ["check"] }) {}
 *
 * const bytes = Health.HealthService.check.responseSerialize({ status: "NotServing" })
 * bytes.toString("hex") // => "0802"
 * ```
 */
export const HealthService = {
  check: { path: "/grpc.health.v1.Health/Check", requestStream: false, responseStream: false, ...codecs },
  watch: { path: "/grpc.health.v1.Health/Watch", requestStream: false, responseStream: true, ...codecs }
} as const

/** So many changes at most wait for a watcher that does not read; of more, the oldest are left out. */
const maxChanges = 16

/** What a server says of its services, and who watches. */
export class HealthState {
  private readonly services: Map<string, ServingStatus>
  private readonly watchers = new Map<(status: ServingStatus) => void, string>()

  /** All of these are `Serving`. */
  constructor(services: Iterable<string>) {
    this.services = new Map(Array.from(services, (name) => [name, "Serving"]))
  }

  get(service: string): ServingStatus {
    return this.services.get(service) ?? "ServiceUnknown"
  }
  set(service: string, status: ServingStatus): void {
    const before = this.get(service)
    this.services.set(service, status)
    if (status === before) return
    for (const [tell, watched] of this.watchers) if (watched === service) tell(status)
  }

  /** The state of a service, and each change of it. */
  watch(service: string): Stream.Stream<HealthCheckResponse> {
    return Stream.callback<HealthCheckResponse>(
      (queue) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const tell = (status: ServingStatus) => void Queue.offerUnsafe(queue, { status })
            tell(this.get(service))
            this.watchers.set(tell, service)
            return tell
          }),
          (tell) => Effect.sync(() => this.watchers.delete(tell))
        ),
      { bufferSize: maxChanges, strategy: "sliding" }
    )
  }
  /** How many watch. */
  get watching(): number {
    return this.watchers.size
  }

  /** The handlers of `HealthService`. */
  readonly handlers = {
    check: ({ service }: HealthCheckRequest): Effect.Effect<HealthCheckResponse, Status> => {
      const status = this.get(service)
      return status === "ServiceUnknown"
        ? Effect.fail({ _tag: "NotFound", details: `no service ${JSON.stringify(service)}` })
        : Effect.succeed({ status })
    },
    watch: ({ service }: HealthCheckRequest): Stream.Stream<HealthCheckResponse> => this.watch(service)
  }
}

/** The methods of `HealthService`, with handlers that answer with a state. */
export const served = (state: HealthState) =>
  [
    { ...HealthService.check, handler: state.handlers.check },
    { ...HealthService.watch, handler: state.handlers.watch }
  ] as const
