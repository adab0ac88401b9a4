/**
 * Reads the wire format of Protocol Buffers, for messages of a known shape. What it reads comes from others: it is bounded
 * by the length of its input, recurs only as deep as the shape, and answers `undefined` for whatever is not well formed.
 */

/** A shape: what each field number stands for. */
export interface Shape {
  readonly [field: number]: readonly [name: string, kind: Kind]
}

/** A kind of field. `each` is a repeated one, a `map` has texts as keys and values. */
export type Kind =
  | "text"
  | "integer"
  | "optional integer"
  | "bytes"
  | "map"
  | { readonly one: Shape }
  | { readonly each: Shape | "text" }

type Fields = Record<string, unknown>

class Reader {
  at: number
  readonly end: number
  readonly bytes: Uint8Array
  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }
  /** Ten bytes at most, 64 bits of them. */
  varint(): bigint {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte()
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
    throw malformed
  }
  part(): Reader {
    const length = this.varint()
    if (length > BigInt(this.end - this.at)) throw malformed
    const from = this.at
    this.at += Number(length)
    return new Reader(this.bytes, from, this.at)
  }
  skip(wire: number): void {
    if (wire === 0) this.varint()
    else if (wire === 2) this.part()
    else this.pass(wire === 1 ? 8 : wire === 5 ? 4 : Infinity)
  }
  text(): string {
    return decoder.decode(this.raw())
  }
  raw(): Uint8Array {
    return this.bytes.subarray(this.at, this.end)
  }
  private byte(): number {
    if (this.at >= this.end) throw malformed
    return this.bytes[this.at++]!
  }
  private pass(count: number): void {
    if (count > this.end - this.at) throw malformed
    this.at += count
  }
}

const malformed = new Error("malformed")
const decoder = new TextDecoder()

/** The fields of a message, absent ones with their defaults; `undefined` where the bytes are not well formed. */
export const read = (bytes: Uint8Array, shape: Shape): Fields | undefined => {
  try {
    return message(new Reader(bytes, 0, bytes.length), shape)
  } catch {
    return undefined
  }
}

const message = (reader: Reader, shape: Shape): Fields => {
  const out: Fields = {}
  for (const [name, kind] of Object.values(shape) as ReadonlyArray<Shape[number]>) out[name] = absent(kind)
  while (reader.at < reader.end) {
    const tag = reader.varint()
    const wire = Number(tag & 7n)
    const field = Number(tag >> 3n)
    if (field === 0 || field > 0x1fffffff) throw malformed
    const known = Object.hasOwn(shape, field) ? shape[field] : undefined
    if (known === undefined) reader.skip(wire)
    // A field of another type than it should have: whoever wrote this means another message.
    else if (wire !== (isInteger(known[1]) ? 0 : 2)) throw malformed
    else out[known[0]] = value(reader, known[1], out[known[0]])
  }
  return out
}

const isInteger = (kind: Kind): boolean => kind === "integer" || kind === "optional integer"

const absent = (kind: Kind): unknown => {
  if (kind === "text") return ""
  if (kind === "integer") return 0n
  if (kind === "bytes") return new Uint8Array(0)
  // Without a prototype there is no `__proto__` to set.
  if (kind === "map") return Object.create(null)
  return typeof kind === "object" && "each" in kind ? [] : undefined
}

const value = (reader: Reader, kind: Kind, before: unknown): unknown => {
  if (kind === "integer" || kind === "optional integer") return BigInt.asIntN(64, reader.varint())
  const part = reader.part()
  if (kind === "text") return part.text()
  if (kind === "bytes") return part.raw().slice()
  if (kind === "map") {
    const { key, value } = message(part, entry) as { key: string; value: string }
    ;(before as Record<string, string>)[key] = value
    return before
  }
  if ("one" in kind) return message(part, kind.one)
  ;(before as Array<unknown>).push(kind.each === "text" ? part.text() : message(part, kind.each))
  return before
}

const entry: Shape = { 1: ["key", "text"], 2: ["value", "text"] }
