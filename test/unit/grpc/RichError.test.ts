import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire"
import { assert, describe, it } from "@effect/vitest"
import { Metadata, RichError, RpcError } from "@hawser/grpc"
import { Dice } from "../../support/core/prng.ts"

const key = "grpc-status-details-bin"

const fail = (bytes: Metadata.Value | undefined): RpcError.RpcError =>
  RpcError.of("/demo.Shop/Buy", { _tag: "Aborted", details: "" }, "Answered", {
    metadata:
      bytes === undefined ? undefined : Metadata.received((value: Metadata.Value) => [[key, value] as const], bytes)
  })

type Write = (writer: BinaryWriter) => BinaryWriter

const bytesOf = (write: Write): Uint8Array => write(new BinaryWriter()).finish()
const text =
  (field: number, value: string): Write =>
  (w) =>
    w.tag(field, WireType.LengthDelimited).string(value)
const integer =
  (field: number, value: bigint): Write =>
  (w) =>
    w.tag(field, WireType.Varint).int64(value)
const inside =
  (field: number, ...writes: ReadonlyArray<Write>): Write =>
  (w) =>
    w.tag(field, WireType.LengthDelimited).bytes(bytesOf(all(...writes)))
const all =
  (...writes: ReadonlyArray<Write>): Write =>
  (w) =>
    writes.reduce((w, write) => write(w), w)
const entry = (field: number, key: string, value: string): Write => inside(field, text(1, key), text(2, value))

const any = (type: string, ...writes: ReadonlyArray<Write>): Write =>
  inside(3, text(1, `type.googleapis.com/${type}`), inside(2, ...writes))
const statusOf = (...details: ReadonlyArray<Write>): Uint8Array =>
  bytesOf(all(integer(1, 10n), text(2, "no"), ...details))

const record = (fields: Record<string, string>) => Object.assign(Object.create(null), fields) as Record<string, string>

describe("RichError", () => {
  it("reads every type of error_details.proto, as another library writes it", () => {
    const bytes = statusOf(
      any("google.rpc.ErrorInfo", text(1, "OUT"), text(2, "shop"), entry(3, "a", "1"), entry(3, "b", "ß")),
      any("google.rpc.RetryInfo", inside(1, integer(1, 2n), integer(2, 500_000_000n))),
      any("google.rpc.DebugInfo", text(1, "at a"), text(1, "at b"), text(2, "detail")),
      any(
        "google.rpc.QuotaFailure",
        inside(
          1,
          ...[text(1, "ip:1"), text(2, "too many"), text(3, "api"), text(4, "metric"), text(5, "id")],
          ...[entry(6, "zone", "eu"), integer(7, 9_007_199_254_740_993n), integer(8, -1n)]
        )
      ),
      any("google.rpc.PreconditionFailure", inside(1, text(1, "TOS"), text(2, "acme"), text(3, "unsigned"))),
      any(
        "google.rpc.BadRequest",
        inside(1, text(1, "name"), text(2, "is empty"), text(3, "EMPTY"), inside(4, text(1, "de"), text(2, "leer"))),
        inside(1, text(1, "age"))
      ),
      any("google.rpc.RequestInfo", text(1, "7f"), text(2, "data")),
      any("google.rpc.ResourceInfo", text(1, "tea"), text(2, "green"), text(3, "ada"), text(4, "gone")),
      any("google.rpc.Help", inside(1, text(1, "read"), text(2, "https://example.com"))),
      any("google.rpc.LocalizedMessage", text(1, "de-CH"), text(2, "Nein"))
    )
    const violation = { description: "", reason: "", localizedMessage: undefined }
    assert.deepStrictEqual(RichError.details(fail(bytes)), [
      { _tag: "ErrorInfo", reason: "OUT", domain: "shop", metadata: record({ a: "1", b: "ß" }) },
      { _tag: "RetryInfo", retryDelayMillis: 2_500 },
      { _tag: "DebugInfo", stackEntries: ["at a", "at b"], detail: "detail" },
      {
        _tag: "QuotaFailure",
        violations: [
          {
            subject: "ip:1",
            description: "too many",
            apiService: "api",
            quotaMetric: "metric",
            quotaId: "id",
            quotaDimensions: record({ zone: "eu" }),
            quotaValue: 9_007_199_254_740_993n,
            futureQuotaValue: -1n
          }
        ]
      },
      { _tag: "PreconditionFailure", violations: [{ type: "TOS", subject: "acme", description: "unsigned" }] },
      {
        _tag: "BadRequest",
        fieldViolations: [
          {
            field: "name",
            description: "is empty",
            reason: "EMPTY",
            localizedMessage: { locale: "de", message: "leer" }
          },
          { ...violation, field: "age" }
        ]
      },
      { _tag: "RequestInfo", requestId: "7f", servingData: "data" },
      { _tag: "ResourceInfo", resourceType: "tea", resourceName: "green", owner: "ada", description: "gone" },
      { _tag: "Help", links: [{ description: "read", url: "https://example.com" }] },
      { _tag: "LocalizedMessage", locale: "de-CH", message: "Nein" }
    ])
    assert.deepInclude(RichError.status(fail(bytes)), { code: 10, message: "no" })
  })

  it("keeps the bytes of types that it does not know, and of known ones that are broken", () => {
    const bytes = statusOf(
      any("shop.v1.OutOfStock", text(1, "tea")),
      any("google.rpc.constructor", text(1, "x")),
      // A number where a text belongs.
      any("google.rpc.LocalizedMessage", integer(1, 1n)),
      inside(3, inside(2, text(1, "of no type")))
    )
    assert.deepStrictEqual(
      RichError.details(fail(bytes)).map((detail) => detail._tag === "Other" && [detail.typeUrl, detail.bytes.length]),
      [
        ["type.googleapis.com/shop.v1.OutOfStock", 5],
        ["type.googleapis.com/google.rpc.constructor", 3],
        ["type.googleapis.com/google.rpc.LocalizedMessage", 2],
        ["", 12]
      ]
    )
  })

  it("knows the types under any URL", () => {
    const bytes = statusOf(
      inside(3, text(1, "example.com/types/google.rpc.RequestInfo"), inside(2, text(1, "7f"))),
      inside(3, text(1, "google.rpc.RequestInfo"), inside(2, text(1, "80")))
    )
    assert.deepStrictEqual(
      RichError.details(fail(bytes)).map((detail) => detail._tag),
      ["RequestInfo", "RequestInfo"]
    )
  })

  it("finds the first detail of a kind, with its type", () => {
    const bytes = statusOf(any("google.rpc.RetryInfo"), any("google.rpc.RetryInfo", inside(1, integer(1, 3n))))
    const error = fail(bytes)
    assert.strictEqual(RichError.find(error, "RetryInfo")?.retryDelayMillis, undefined)
    assert.strictEqual(RichError.find(error, "RetryInfo")?._tag, "RetryInfo")
    assert.strictEqual(RichError.find(error, "Help"), undefined)
  })

  it("finds nothing in errors without details", () => {
    for (const value of [undefined, "text", new Uint8Array(0), Buffer.from("ffff", "hex")]) {
      assert.deepStrictEqual(RichError.details(fail(value)), [])
    }
    assert.strictEqual(RichError.status(fail(undefined)), undefined)
  })

  it("skips fields that a later version of the types may have", () => {
    const later: Write = (w) => w.tag(90, WireType.Bit64).fixed64(1n).tag(91, WireType.Bit32).fixed32(1)
    const bytes = statusOf(any("google.rpc.RequestInfo", later, text(1, "7f"), text(92, "more")), later)
    assert.deepStrictEqual(RichError.details(fail(bytes)), [{ _tag: "RequestInfo", requestId: "7f", servingData: "" }])
  })

  it("a map's keys can't reach a prototype", () => {
    const bytes = statusOf(any("google.rpc.ErrorInfo", entry(3, "__proto__", "evil"), entry(3, "constructor", "c")))
    const info = RichError.find(fail(bytes), "ErrorInfo")
    assert.deepStrictEqual(Object.entries(info!.metadata), [
      ["__proto__", "evil"],
      ["constructor", "c"]
    ])
    assert.strictEqual(({} as Record<string, unknown>)["evil"], undefined)
  })

  it.each([
    ["a length beyond the end", "1205"],
    ["a length of 2^63", "12ffffffffffffffff7f"],
    ["a number of more than ten bytes", "08ffffffffffffffffffff01"],
    ["a number that does not end", "08ff"],
    ["a field of number 0", "0000"],
    ["a group", "0b0c"],
    ["a group in a group, and so on", "0b".repeat(30_000)],
    ["a wire type that does not exist", "0f"],
    ["eight bytes that are not there", "a10100"],
    ["a code that is a text", "0a0141"]
  ])("answers %s with nothing", (_, hex) => {
    assert.strictEqual(RichError.decode(Buffer.from(hex, "hex")), undefined)
  })

  it("reads a negative code, and one that is too wide, as 32 bits", () => {
    assert.strictEqual(RichError.decode(bytesOf(integer(1, -1n)))?.code, -1)
    assert.strictEqual(RichError.decode(bytesOf(integer(1, 2n ** 40n + 5n)))?.code, 5)
  })

  it("never throws, whatever the bytes are", () => {
    const dice = new Dice(11)
    const whole = statusOf(
      any("google.rpc.BadRequest", inside(1, text(1, "name"), inside(4, text(1, "de")))),
      any("google.rpc.ErrorInfo", entry(3, "a", "1"))
    )
    for (let n = 0; n < 20_000; n++) {
      const bytes = Uint8Array.from(whole.subarray(0, dice.below(whole.length + 1)))
      for (let flips = dice.below(4); flips > 0 && bytes.length > 0; flips--) {
        bytes[dice.below(bytes.length)] = dice.below(256)
      }
      const details = RichError.details(fail(bytes))
      assert.isAtMost(details.length, bytes.length)
    }
  })

  it("reads no more than 64 KiB, and those without much ado", () => {
    const many = bytesOf(all(...Array.from({ length: RichError.maxBytes / 2 }, () => inside(3))))
    assert.strictEqual(RichError.decode(many)?.details.length, RichError.maxBytes / 2)
    assert.strictEqual(RichError.decode(new Uint8Array(RichError.maxBytes + 1)), undefined)
  })
})
