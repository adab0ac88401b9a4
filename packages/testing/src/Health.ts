/**
 * The health protocol of gRPC (`grpc.health.v1`): its two messages, and the state behind a server's answers.
 *
 * The messages have one field each, so they are written by hand: no generator, no dependency.
 */
import type { Status } from "./Handler.ts"
import * as Effect from "effect/Effect"
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

/** How a server answers questions about its health. */
export type HealthManner =
  /** As it should. */
  | "Good"
  /** Never: neither a Check nor a Watch gets an answer. */
  | "Hangs"
  /** Watches end with this status, as does every Check. */
  | { readonly _tag: "Fails"; readonly status: Status }
  /** A Watch is told the same again and again, a thousand times a second. */
  | "Floods"

/** What a server says of its services, and who watches. */
export class HealthState {
  private readonly services: Map<string, ServingStatus>
  private readonly lookers = new Set<() => void>()
  private manners: HealthManner = "Good"
  /** How many watch. */
  watching = 0
  /** Watches and Checks that ever came. */
  asked = 0

  /** All of these are `Serving`. */
  constructor(services: Iterable<string>) {
    this.services = new Map(Array.from(services, (name) => [name, "Serving"]))
  }

  /** The services that it has. */
  get names(): ReadonlyArray<string> {
    return [...this.services.keys()]
  }
  get(service: string): ServingStatus {
    return this.services.get(service) ?? "ServiceUnknown"
  }
  set(service: string, status: ServingStatus): void {
    this.services.set(service, status)
    this.changed()
  }
  get manner(): HealthManner {
    return this.manners
  }
  /** Holds for who watches already, too. */
  set manner(manner: HealthManner) {
    this.manners = manner
    this.changed()
  }

  /** The state of a service, and each change of it: who reads slowly is told the last one. */
  watch(service: string): Stream.Stream<HealthCheckResponse, Status> {
    return Stream.suspend(() => {
      let last: ServingStatus | undefined
      this.watching++
      this.asked++
      const next = Effect.map(
        this.when(() => (this.manners === "Floods" || this.get(service) !== last ? this.get(service) : undefined)),
        (status) => ({ status: (last = status) })
      )
      const paced = Effect.suspend(() =>
        this.manners === "Floods" && last !== undefined ? Effect.delay(next, 1) : next
      )
      return Stream.ensuring(
        Stream.fromEffectRepeat(paced),
        Effect.sync(() => this.watching--)
      )
    })
  }

  private changed(): void {
    for (const look of [...this.lookers]) look()
  }

  /** Waits until there is something to say, and this server says anything. */
  private when(read: () => ServingStatus | undefined): Effect.Effect<ServingStatus, Status> {
    return Effect.callback((resume) => {
      const look = () => {
        const { manners } = this
        if (manners === "Hangs") return
        if (typeof manners === "object") resume(Effect.fail(manners.status))
        else {
          const status = read()
          if (status === undefined) return
          resume(Effect.succeed(status))
        }
        this.lookers.delete(look)
      }
      this.lookers.add(look)
      look()
      return Effect.sync(() => this.lookers.delete(look))
    })
  }

  /** The handlers of `HealthService`. */
  readonly handlers = {
    check: ({ service }: HealthCheckRequest): Effect.Effect<HealthCheckResponse, Status> =>
      Effect.suspend(() => {
        this.asked++
        return Effect.flatMap(
          this.when(() => this.get(service)),
          (status): Effect.Effect<HealthCheckResponse, Status> =>
            status === "ServiceUnknown"
              ? Effect.fail({ _tag: "NotFound", details: `no service ${JSON.stringify(service)}` })
              : Effect.succeed({ status })
        )
      }),
    watch: ({ service }: HealthCheckRequest): Stream.Stream<HealthCheckResponse, Status> => this.watch(service)
  }
}

/** The methods of `HealthService`, with handlers that answer with a state. */
export const served = (state: HealthState) =>
  [
    { ...HealthService.check, handler: state.handlers.check },
    { ...HealthService.watch, handler: state.handlers.watch }
  ] as const
