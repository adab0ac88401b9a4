/**
 * What backends report of their load with each answer (gRFC A51): ORCA's `endpoint-load-metrics-bin`.
 *
 * Nobody vouches for these bytes: whatever is no report is none, and nothing here throws. They are looked at only where
 * the balancer wants to know.
 */
import type { LoadReport } from "@hawser/core/Lease"
import type { Metadata } from "./Metadata.ts"

/** The trailer that carries a report. */
export const header = "endpoint-load-metrics-bin"

/** As long as all metadata may be. */
const maxBytes = 16_384
/** The most figures of its own that a backend may name. */
const maxNamed = 100
const noNames: ReadonlyMap<string, number> = new Map()

// The fields of `xds.data.orca.v3.OrcaLoadReport`.
const cpu = 1
const memory = 2
const requestsPerSecond = 6
const errorsPerSecond = 7
const named = 8
const application = 9

/**
 * The report among the trailers of a call, if there is one.
 *
 * ```ts import.meta.vitest
 * import { Metadata, Orca } from "@hawser/grpc"
 *
 * // Field 1, a double: 0.5.
 * const report = Uint8Array.of(0x09, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f)
 * Orca.read(Metadata.fromRecord({ [Orca.header]: report }))?.cpu // => 0.5
 * Orca.read(Metadata.empty) // => undefined
 * Orca.read(Metadata.fromRecord({ [Orca.header]: Uint8Array.of(0x09, 0) })) // => undefined
 * ```
 */
export const read = (trailers: Metadata): LoadReport | undefined => {
  const value = trailers.get(header)
  return value === undefined || typeof value === "string" ? undefined : decode(value)
}

/**
 * A serialized `xds.data.orca.v3.OrcaLoadReport`; `undefined` where it is cut short, longer than 16 KiB, or nothing of the
 * kind.
 *
 * **Details**: a figure that is negative or not finite is taken for 0, as one that is missing; of more than 100 named
 * figures the first 100 count. `utilization` is the application's figure, or where that is 0, the one of the CPU.
 *
 * ```ts import.meta.vitest
 * import { Orca } from "@hawser/grpc"
 *
 * const half = [0, 0, 0, 0, 0, 0, 0xe0, 0x3f]
 * const { errorsPerSecond, requestsPerSecond, utilization } = Orca.decode(Uint8Array.of(0x09, ...half, 0x31, ...half))!
 * utilization // => 0.5
 * requestsPerSecond // => 0.5
 * errorsPerSecond // => 0
 * ```
 */
export const decode = (bytes: Uint8Array): LoadReport | undefined => {
  if (bytes.length > maxBytes) return undefined
  const figures = new Float64Array(application + 1)
  let names: Map<string, number> | undefined
  const reader = new Reader(bytes)
  while (!reader.atEnd) {
    const tag = reader.varint()
    const field = tag >>> 3
    if (field === 0) return undefined
    if (field <= application && field !== named && (tag & 7) === 1) figures[field] = figure(reader.double())
    else if (field === named && (tag & 7) === 2) {
      const entry = new Reader(reader.chunk())
      const [name, value] = pair(entry)
      if (entry.failed) return undefined
      names ??= new Map()
      if (names.size < maxNamed || names.has(name)) names.set(name, value)
    } else reader.skip(tag & 7)
    if (reader.failed) return undefined
  }
  return {
    utilization: figures[application]! > 0 ? figures[application]! : figures[cpu]!,
    requestsPerSecond: figures[requestsPerSecond]!,
    errorsPerSecond: figures[errorsPerSecond]!,
    cpu: figures[cpu]!,
    memory: figures[memory]!,
    named: names ?? noNames
  }
}

const figure = (value: number): number => (value > 0 && value < Infinity ? value : 0)

/** An entry of `map<string, double>`. */
const pair = (reader: Reader): readonly [string, number] => {
  let name = ""
  let value = 0
  while (!reader.atEnd && !reader.failed) {
    const tag = reader.varint()
    if (tag === 0x0a) name = text.decode(reader.chunk())
    else if (tag === 0x11) value = figure(reader.double())
    else if (tag >>> 3 === 0) reader.failed = true
    else reader.skip(tag & 7)
  }
  return [name, value]
}

const text = new TextDecoder()
const nothing = new Uint8Array(0)

/** Protobuf's wire format. After a failure it reads zeros, and its position is its end. */
class Reader {
  failed = false
  private at = 0
  private readonly bytes: Uint8Array
  private readonly view: DataView

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get atEnd(): boolean {
    return this.at >= this.bytes.length
  }

  /** The low 32 bits of a varint. */
  varint(): number {
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.atEnd) break
      const byte = this.bytes[this.at++]!
      if (shift < 32) value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value >>> 0
    }
    this.fail()
    return 0
  }
  double(): number {
    const from = this.take(8)
    return this.failed ? 0 : this.view.getFloat64(from, true)
  }
  chunk(): Uint8Array {
    const length = this.varint()
    const from = this.take(length)
    return this.failed ? nothing : this.bytes.subarray(from, from + length)
  }
  skip(wireType: number): void {
    if (wireType === 0) this.varint()
    else if (wireType === 1) this.take(8)
    else if (wireType === 2) this.chunk()
    else if (wireType === 5) this.take(4)
    // Groups are from another time.
    else this.fail()
  }

  private take(length: number): number {
    const from = this.at
    if (length > this.bytes.length - from) this.fail()
    else this.at = from + length
    return from
  }
  private fail(): void {
    this.failed = true
    this.at = this.bytes.length
  }
}
