/**
 * Headers and trailers of a call.
 *
 * A `Metadata` is immutable and never shows what it carries: printed, logged or serialised, it names its keys, and
 * values only of an allow-list. Building one never fails; a rule that is broken is kept in the value (`issues`), and a
 * call that carries it fails with `InvalidArgument` before anything is sent. So a bad value from data is an error of
 * the call, with the key's name in it, and middleware stays free of a second error type.
 */
import type { OptionsIssue } from "@hawser/core/OptionsError"
import { OptionsError } from "@hawser/core/OptionsError"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import { dual } from "effect/Function"
import * as Hash from "effect/Hash"
import { hasProperty } from "effect/Predicate"

const TypeId = "~hawser/Metadata"

/** Text, or bytes under a key that ends in `-bin`. */
export type Value = string | Uint8Array

/** One key and one value of it. */
export type Entry = readonly [key: string, value: Value]

/**
 * Headers or trailers.
 *
 * **Gotchas**: the entries are private, so that no printer can reach them; `deepStrictEqual` therefore sees no
 * difference between two of them. Compare with `Equal.equals`, or compare `[...metadata.entries]`.
 */
export interface Metadata extends Equal.Equal {
  readonly [TypeId]: typeof TypeId
  /** The first value of a key, in any case; `undefined` where there is none. */
  readonly get: (key: string) => Value | undefined
  /** All entries in order. Bytes are the ones held, not copies: read only. */
  readonly entries: Iterable<Entry>
  readonly size: number
  /** What must be mended before it can be sent. Empty in metadata that was received. */
  readonly issues: ReadonlyArray<OptionsIssue>
}

/**
 * The most that one call may send: 16 KiB, keys and values, and 32 bytes for each entry, as HTTP/2 counts.
 *
 * ```ts import.meta.vitest
 * import { Metadata } from "@hawser/grpc"
 *
 * const note = (length: number) => Metadata.fromRecord({ note: "a".repeat(length) })
 * note(Metadata.maxBytes - "note".length - 32).issues // => []
 * note(Metadata.maxBytes).issues[0]?.rule // => "at most 16384 bytes in all"
 * ```
 */
export const maxBytes = 16_384

const shown: ReadonlySet<string> = new Set([
  "content-type",
  "grpc-accept-encoding",
  "grpc-encoding",
  "grpc-previous-rpc-attempts",
  "grpc-retry-pushback-ms",
  "grpc-status",
  "grpc-timeout"
])

// Headers that belong to the transport. Some of them make Node throw inside grpc-js, which then drops the connection.
const reserved: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "content-type",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "user-agent"
])

// Those that Node refuses to send twice, also by throwing inside grpc-js.
const single: ReadonlySet<string> = new Set(
  (
    "access-control-allow-credentials access-control-max-age access-control-request-method age authorization " +
    "content-encoding content-language content-location content-md5 content-range date dnt etag expires from " +
    "if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards " +
    "proxy-authorization range referer retry-after tk upgrade-insecure-requests x-content-type-options"
  ).split(" ")
)

const legalKey = /^[0-9a-z_.-]+$/
const legalText = /^[ -~]*$/
const none: ReadonlyArray<OptionsIssue> = []
// Whatever else it is stays as it is: `issues` names it.
const copy = (value: Value): Value => (value instanceof Uint8Array ? new Uint8Array(value) : value)

class MetadataImpl implements Metadata {
  /** Read on first use, from `#source`: a call that succeeds mostly needs neither. */
  #list: ReadonlyArray<Entry> | ((source: never) => Iterable<Entry>)
  readonly #source: unknown
  #issues: ReadonlyArray<OptionsIssue> | undefined
  constructor(
    list: ReadonlyArray<Entry> | ((source: never) => Iterable<Entry>),
    issues?: ReadonlyArray<OptionsIssue>,
    source?: unknown
  ) {
    this.#list = list
    this.#issues = issues
    this.#source = source
  }
  get [TypeId](): typeof TypeId {
    return TypeId
  }
  get entries(): ReadonlyArray<Entry> {
    if (typeof this.#list === "function") this.#list = [...this.#list(this.#source as never)]
    return this.#list
  }
  get size(): number {
    return this.entries.length
  }
  get issues(): ReadonlyArray<OptionsIssue> {
    this.#issues ??= check(this.entries)
    return this.#issues
  }
  get(key: string): Value | undefined {
    const wanted = key.toLowerCase()
    for (const [name, value] of this.entries) if (name === wanted) return copy(value)
    return undefined
  }
  [Equal.symbol](that: Equal.Equal): boolean {
    if (!isMetadata(that)) return false
    const other = [...that.entries]
    return (
      this.size === other.length &&
      this.entries.every((e, i) => e[0] === other[i]![0] && Equal.equals(e[1], other[i]![1]))
    )
  }
  [Hash.symbol](): number {
    return Hash.string(this.entries.map(([key]) => key).join())
  }
  toJSON(): Record<string, string> {
    // A null prototype has no `__proto__` to set.
    const out: Record<string, string> = Object.create(null)
    for (const [key, value] of this.entries) {
      const text = shown.has(key) && typeof value === "string" ? value.slice(0, 100) : "<redacted>"
      out[key] = key in out ? `${out[key]}, ${text}` : text
    }
    return out
  }
  toString(): string {
    const pairs = Object.entries(this.toJSON()).map(([key, text]) => `${key}: ${text}`)
    return pairs.length === 0 ? "Metadata {}" : `Metadata { ${pairs.join(", ")} }`
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString()
  }
}

const bytesOf = ([key, value]: Entry): number =>
  32 + key.length + (typeof value === "string" ? value.length : Math.ceil(value.length / 3) * 4)

// The rule never repeats the value: it may be a secret. What is said of it is its kind and length.
const check = (entries: ReadonlyArray<Entry>): ReadonlyArray<OptionsIssue> => {
  const issues: Array<OptionsIssue> = []
  const seen = new Set<string>()
  let bytes = 0
  for (const entry of entries) {
    const rule = broken(entry, seen)
    if (rule !== undefined) issues.push({ path: `metadata[${JSON.stringify(entry[0])}]`, ...rule })
    else bytes += bytesOf(entry)
    seen.add(entry[0])
  }
  if (bytes > maxBytes) {
    issues.push({ path: "metadata", rule: `at most ${maxBytes} bytes in all`, value: `${bytes} bytes` })
  }
  return issues.length === 0 ? none : issues
}

const broken = ([key, value]: Entry, seen: ReadonlySet<string>): { rule: string; value: string } | undefined => {
  if (typeof key !== "string" || !legalKey.test(key)) {
    return { rule: "a key of lower-case letters, digits, '_', '-' and '.'", value: "another key" }
  }
  if (key.startsWith("grpc-") || reserved.has(key)) return { rule: "a key that the transport does not own", value: key }
  if (single.has(key) && seen.has(key)) return { rule: "one value for this key", value: "a second one" }
  if (key.endsWith("-bin")) {
    return value instanceof Uint8Array
      ? undefined
      : { rule: "bytes under a key that ends in -bin", value: typeof value }
  }
  if (typeof value !== "string") {
    const kind = value instanceof Uint8Array ? "bytes" : typeof value
    return { rule: "text under a key that does not end in -bin", value: kind }
  }
  if (!legalText.test(value)) return { rule: "printable ASCII", value: `${value.length} characters with others` }
  // HTTP/2 peers may strip such blanks.
  if (value !== value.trim()) return { rule: "no blank at either end", value: `${value.length} characters` }
  return undefined
}

/**
 * No entries.
 *
 * ```ts import.meta.vitest
 * import { Metadata } from "@hawser/grpc"
 *
 * const tenant: string | undefined = undefined
 * const metadata = tenant === undefined ? Metadata.empty : Metadata.fromRecord({ "x-tenant": tenant })
 * metadata.size // => 0
 * ```
 */
export const empty: Metadata = new MetadataImpl([], none)

/**
 * Whether a value is metadata.
 *
 * ```ts import.meta.vitest
 * import { Metadata } from "@hawser/grpc"
 *
 * const from = (headers: Metadata.Metadata | Record<string, string>) =>
 *   Metadata.isMetadata(headers) ? headers : Metadata.fromRecord(headers)
 * from({ "x-tenant": "acme" }).get("x-tenant") // => "acme"
 * from(Metadata.empty) === Metadata.empty // => true
 * ```
 */
export const isMetadata = (u: unknown): u is Metadata => hasProperty(u, TypeId)

/**
 * Metadata from an object, one value or several for each key.
 *
 * **Details**: keys are lower-case letters, digits, `_`, `-` and `.`; those that end in `-bin` take bytes, which are
 * copied, the others printable ASCII. Keys of the transport (`grpc-*`, `content-type`, `te`, `user-agent`,
 * `content-length`, `host` and the connection's) are refused, and so is more than 16 KiB in all.
 *
 * **Example** (Values stay hidden)
 *
 * ```ts import.meta.vitest
 * import { Metadata } from "@hawser/grpc"
 *
 * const metadata = Metadata.fromRecord({ authorization: "Bearer secret", "x-tenant": "acme" })
 * metadata.get("x-tenant") // => "acme"
 * String(metadata) // => "Metadata { authorization: <redacted>, x-tenant: <redacted> }"
 * Metadata.fromRecord({ "grpc-status": "0" }).issues[0]?.rule // => "a key that the transport does not own"
 * ```
 */
export const fromRecord = (record: Readonly<Record<string, Value | ReadonlyArray<Value>>>): Metadata => {
  const list: Array<Entry> = []
  for (const key of Object.keys(record)) {
    const value = record[key]!
    if (Array.isArray(value)) for (const one of value as ReadonlyArray<Value>) list.push([key, copy(one)])
    else list.push([key, copy(value as Value)])
  }
  return list.length === 0 ? empty : new MetadataImpl(list)
}

/**
 * Metadata from pairs, in order; a key may come more than once.
 *
 * **Details**: the rules are those of `fromRecord`. Some keys may come only once, such as `authorization`.
 *
 * ```ts import.meta.vitest
 * import { Metadata } from "@hawser/grpc"
 *
 * const via = Metadata.fromEntries([["x-via", "edge"], ["x-via", "shop"]])
 * via.size // => 2
 * const twice = Metadata.fromEntries([["authorization", "Bearer a"], ["authorization", "Bearer b"]])
 * twice.issues[0]?.rule // => "one value for this key"
 * ```
 */
export const fromEntries = (entries: Iterable<Entry>): Metadata => {
  const list = Array.from(entries, ([key, value]): Entry => [key, copy(value)])
  return list.length === 0 ? empty : new MetadataImpl(list)
}

/**
 * Metadata that was received, for authors of transports: not checked, and read on first use only.
 *
 * **Gotchas**: keys must be lower-case, as HTTP/2 has them.
 *
 * ```ts import.meta.vitest
 * import { Metadata } from "@hawser/grpc"
 *
 * let reads = 0
 * const headers = Metadata.received((raw: Record<string, string>) => {
 *   reads++
 *   return Object.entries(raw)
 * }, { "grpc-status": "0", "x-cost": "3" })
 * reads // => 0
 * headers.get("x-cost") // => "3"
 * headers.issues // => []
 * reads // => 1
 * ```
 */
export const received = <Source>(entries: (source: Source) => Iterable<Entry>, source: Source): Metadata =>
  new MetadataImpl(entries, none, source)

/**
 * The first value of a key, in any case; `undefined` where there is none. Bytes are copied.
 *
 * ```ts import.meta.vitest
 * import { Metadata } from "@hawser/grpc"
 *
 * const trailers = Metadata.fromRecord({ "x-cost": ["3", "4"], "x-trace-bin": Uint8Array.of(1, 2) })
 * Metadata.get(trailers, "X-Cost") // => "3"
 * Metadata.get(trailers, "x-trace-bin") // => Uint8Array.of(1, 2)
 * ```
 */
export const get: {
  (key: string): (self: Metadata) => Value | undefined
  (self: Metadata, key: string): Value | undefined
} = dual(2, (self: Metadata, key: string) => self.get(key))

/**
 * All values of a key, in any case, in order. Bytes are copied.
 *
 * ```ts import.meta.vitest
 * import { Metadata } from "@hawser/grpc"
 *
 * const trailers = Metadata.fromRecord({ "x-cost": ["3", "4"] })
 * Metadata.getAll(trailers, "x-cost") // => ["3", "4"]
 * Metadata.getAll(trailers, "x-other") // => []
 * ```
 */
export const getAll: {
  (key: string): (self: Metadata) => ReadonlyArray<Value>
  (self: Metadata, key: string): ReadonlyArray<Value>
} = dual(2, (self: Metadata, key: string) => {
  const wanted = key.toLowerCase()
  const out: Array<Value> = []
  for (const [name, value] of self.entries) if (name === wanted) out.push(copy(value))
  return out
})

/**
 * Replaces all values of a key by one, at the end.
 *
 * **When to use**: in middleware that must have the last word, as for `authorization`, which may not be sent twice.
 *
 * ```ts import.meta.vitest
 * import { Metadata } from "@hawser/grpc"
 *
 * const before = Metadata.fromRecord({ authorization: "Bearer old", "x-tenant": "acme" })
 * const after = Metadata.set(before, "authorization", "Bearer new")
 * const pairs = [...after.entries]
 * pairs // => [["x-tenant", "acme"], ["authorization", "Bearer new"]]
 * before.get("authorization") // => "Bearer old"
 * ```
 */
export const set: {
  (key: string, value: Value): (self: Metadata) => Metadata
  (self: Metadata, key: string, value: Value): Metadata
} = dual(
  3,
  (self: Metadata, key: string, value: Value) =>
    new MetadataImpl([...Array.from(self.entries).filter(([name]) => name !== key), [key, copy(value)]])
)

/**
 * Adds a value to those that the key has, at the end.
 *
 * ```ts import.meta.vitest
 * import { Metadata } from "@hawser/grpc"
 *
 * const metadata = Metadata.append(Metadata.fromRecord({ "x-via": "edge" }), "x-via", "shop")
 * const pairs = [...metadata.entries]
 * pairs // => [["x-via", "edge"], ["x-via", "shop"]]
 * ```
 */
export const append: {
  (key: string, value: Value): (self: Metadata) => Metadata
  (self: Metadata, key: string, value: Value): Metadata
} = dual(3, (self: Metadata, key: string, value: Value) => new MetadataImpl([...self.entries, [key, copy(value)]]))

/**
 * Both; where both have a key, the values of `that` replace those of `self`.
 *
 * ```ts import.meta.vitest
 * import { Metadata } from "@hawser/grpc"
 *
 * const defaults = Metadata.fromRecord({ "x-tenant": "none", "x-app": "shop" })
 * const merged = Metadata.merge(defaults, Metadata.fromRecord({ "x-tenant": "acme" }))
 * const pairs = [...merged.entries]
 * pairs // => [["x-app", "shop"], ["x-tenant", "acme"]]
 * ```
 */
export const merge: {
  (that: Metadata): (self: Metadata) => Metadata
  (self: Metadata, that: Metadata): Metadata
} = dual(2, (self: Metadata, that: Metadata) => {
  if (that.size === 0) return self
  const keys = new Set(Array.from(that.entries, ([key]) => key))
  return new MetadataImpl([...Array.from(self.entries).filter(([key]) => !keys.has(key)), ...that.entries])
})

/**
 * What must be mended before it can be sent, in one line; `undefined` where nothing must. Transports ask, and fail the
 * call with `InvalidArgument`.
 *
 * **Details**: it names keys and rules, never a value, which may be a secret.
 *
 * ```ts import.meta.vitest
 * import { Metadata } from "@hawser/grpc"
 *
 * const metadata = Metadata.fromRecord({ authorization: "Bearer s3cret\n" })
 * Metadata.problem(metadata) // => 'metadata["authorization"]: expected printable ASCII, got 14 characters with others'
 * Metadata.problem(Metadata.empty) // => undefined
 * ```
 */
export const problem = (self: Metadata | undefined): string | undefined =>
  self === undefined || self.issues.length === 0
    ? undefined
    : self.issues.map(({ path, rule, value }) => `${path}: expected ${rule}, got ${value}`).join("; ")

/**
 * The metadata itself if it may be sent, else an `OptionsError` with every broken rule.
 *
 * **When to use**: where metadata is built from data of others, to refuse it there and not with the first call.
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Metadata } from "@hawser/grpc"
 *
 * const fromOutside = Metadata.fromRecord({ "X-Tenant": "acme", te: "trailers" })
 * const error = Effect.runSync(Effect.flip(Metadata.validate(fromOutside)))
 * const paths = error.issues.map((issue) => issue.path)
 * paths // => ['metadata["X-Tenant"]', 'metadata["te"]']
 * ```
 */
export const validate = (self: Metadata): Effect.Effect<Metadata, OptionsError> =>
  self.issues.length === 0 ? Effect.succeed(self) : Effect.fail(new OptionsError({ issues: self.issues }))
