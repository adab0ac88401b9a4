import { assert, describe, it } from "@effect/vitest"
import { Metadata } from "@hawser/grpc"
import { Effect, Equal, Hash } from "effect"
import { inspect } from "node:util"

const bytes = new Uint8Array([1, 2, 3])

describe("Metadata", () => {
  it("finds values by key in any case, and gives the first of several", () => {
    const metadata = Metadata.fromEntries([
      ["x-a", "1"],
      ["x-a", "2"],
      ["x-b-bin", bytes]
    ])
    assert.strictEqual(metadata.get("X-A"), "1")
    assert.deepStrictEqual(Metadata.getAll(metadata, "x-a"), ["1", "2"])
    assert.deepStrictEqual(Metadata.get(metadata, "x-b-bin"), bytes)
    assert.strictEqual(metadata.get("x-c"), undefined)
    assert.strictEqual(metadata.size, 3)
  })

  it("takes one value or several for each key of a record", () => {
    const metadata = Metadata.fromRecord({ "x-a": ["1", "2"], "x-b": "3" })
    assert.deepStrictEqual(
      [...metadata.entries],
      [
        ["x-a", "1"],
        ["x-a", "2"],
        ["x-b", "3"]
      ]
    )
    assert.strictEqual(Metadata.fromRecord({}), Metadata.empty)
  })

  it("is not changed by what is done to the bytes that went in or came out", () => {
    const source = new Uint8Array([1, 2, 3])
    const metadata = Metadata.fromRecord({ "x-bin": source })
    source[0] = 9
    const out = metadata.get("x-bin") as Uint8Array
    out[1] = 9
    assert.deepStrictEqual(metadata.get("x-bin"), bytes)
    assert.deepStrictEqual(Metadata.getAll(metadata, "x-bin"), [bytes])
  })

  it("sets, appends and merges into new values", () => {
    const base = Metadata.fromRecord({ "x-a": ["1", "2"], "x-b": "3" })
    const pairs = (metadata: Metadata.Metadata) =>
      [...metadata.entries].map(([key, value]) => `${key}=${String(value)}`)
    assert.deepStrictEqual(pairs(Metadata.set(base, "x-a", "9")), ["x-b=3", "x-a=9"])
    assert.deepStrictEqual(pairs(Metadata.append("x-a", "9")(base)), ["x-a=1", "x-a=2", "x-b=3", "x-a=9"])
    assert.deepStrictEqual(pairs(Metadata.merge(base, Metadata.fromRecord({ "x-a": "7" }))), ["x-b=3", "x-a=7"])
    assert.strictEqual(Metadata.merge(base, Metadata.empty), base)
    assert.deepStrictEqual(pairs(base), ["x-a=1", "x-a=2", "x-b=3"])
  })

  describe("issues", () => {
    const refused: ReadonlyArray<readonly [name: string, entry: readonly [string, unknown], rule: RegExp]> = [
      ["an upper-case key", ["X-A", "1"], /lower-case/],
      ["a key with a blank", ["x a", "1"], /lower-case/],
      ["an empty key", ["", "1"], /lower-case/],
      ["a pseudo-header", [":path", "1"], /lower-case/],
      ["a key that is not ASCII", ["x-ä", "1"], /lower-case/],
      ["a key of gRPC", ["grpc-timeout", "1"], /does not own/],
      ["a binary key of gRPC", ["grpc-trace-bin", bytes], /does not own/],
      ["content-type", ["content-type", "application/grpc"], /does not own/],
      ["te", ["te", "trailers"], /does not own/],
      ["user-agent", ["user-agent", "me"], /does not own/],
      ["connection, at which Node throws", ["connection", "close"], /does not own/],
      ["content-length, which breaks the stream", ["content-length", "5"], /does not own/],
      ["text under a -bin key", ["x-bin", "text"], /bytes under a key/],
      ["bytes under a text key", ["x-a", bytes], /text under a key/],
      ["a number", ["x-a", 5], /text under a key/],
      ["a line break", ["x-a", "a\nb"], /printable ASCII/],
      ["a NUL", ["x-a", "a\0b"], /printable ASCII/],
      ["a letter that is not ASCII", ["x-a", "grün"], /printable ASCII/],
      ["a blank at the end", ["x-a", "a "], /no blank/]
    ]
    it.each(refused)("refuse %s", (_, entry, rule) => {
      const metadata = Metadata.fromEntries([entry as Metadata.Entry])
      assert.lengthOf(metadata.issues, 1)
      assert.match(metadata.issues[0]!.rule, rule)
      assert.include(metadata.issues[0]!.path, JSON.stringify(entry[0]))
    })

    it.each(
      (
        "connection content-length content-type host http2-settings keep-alive proxy-connection te trailer " +
        "transfer-encoding upgrade user-agent"
      ).split(" ")
    )("refuse %s, which is the transport's", (key) => {
      assert.match(Metadata.fromRecord({ [key]: "x" }).issues[0]?.rule ?? "", /does not own/)
    })

    it("name keys, never values", () => {
      const metadata = Metadata.fromRecord({ authorization: "Bearer s3cret\n", "x-api-bin": "s3cret" })
      assert.lengthOf(metadata.issues, 2)
      assert.notInclude(JSON.stringify(metadata.issues), "s3cret")
    })

    it("refuse a second value where Node would throw and grpc-js drop the connection", () => {
      assert.lengthOf(Metadata.fromRecord({ authorization: "a" }).issues, 0)
      assert.lengthOf(Metadata.fromRecord({ authorization: ["a", "b"] }).issues, 1)
      assert.lengthOf(Metadata.fromRecord({ "x-a": ["a", "b"] }).issues, 0)
    })

    it.each([
      ["text", 16_384 - 32 - 3, (n: number) => Metadata.fromRecord({ "x-a": "a".repeat(n) })],
      [
        "bytes, as base64",
        ((16_384 - 32 - 5) / 4 - 0.75) * 3,
        (n: number) => Metadata.fromRecord({ "x-bin": new Uint8Array(n) })
      ]
    ] as const)("bound the sum of %s to 16 KiB", (_, most, make) => {
      assert.lengthOf(make(Math.floor(most)).issues, 0)
      const issues = make(Math.floor(most) + 3).issues
      assert.strictEqual(issues[0]?.rule, "at most 16384 bytes in all")
    })

    it("follow a value through set, append and merge", () => {
      const bad = Metadata.set(Metadata.empty, "grpc-x", "1")
      assert.lengthOf(bad.issues, 1)
      assert.lengthOf(Metadata.append(bad, "x-a", "\n").issues, 2)
      assert.lengthOf(Metadata.merge(Metadata.fromRecord({ "x-a": "1" }), bad).issues, 1)
      assert.match(Metadata.problem(bad)!, /^metadata\["grpc-x"\]: expected a key that the transport does not own/)
      assert.strictEqual(Metadata.problem(undefined), undefined)
      assert.strictEqual(Metadata.problem(Metadata.empty), undefined)
    })

    it.effect("become an OptionsError on demand", () =>
      Effect.gen(function* () {
        const good = Metadata.fromRecord({ "x-a": "1" })
        assert.strictEqual(yield* Metadata.validate(good), good)
        const error = yield* Effect.flip(Metadata.validate(Metadata.fromRecord({ te: "1", "x-a": "\n" })))
        assert.strictEqual(error._tag, "OptionsError")
        assert.lengthOf(error.issues, 2)
      })
    )
  })

  it("reads what was received once, on first use, and does not judge it", () => {
    let reads = 0
    const metadata = Metadata.received(function* () {
      reads++
      yield ["grpc-status", "0"]
      yield ["x-odd", "grün"]
    }, undefined)
    assert.strictEqual(reads, 0)
    assert.strictEqual(metadata.get("grpc-status"), "0")
    assert.strictEqual(metadata.size, 2)
    assert.lengthOf(metadata.issues, 0)
    assert.strictEqual(reads, 1)
  })

  it("keeps bytes as they were, alone and among others", () => {
    const one = new Uint8Array([1])
    const metadata = Metadata.fromRecord({ "x-bin": one, "y-bin": [one, one] })
    one[0] = 9
    const held = Array.from(metadata.entries, ([, value]) => [...(value as Uint8Array)])
    assert.deepStrictEqual(held, [[1], [1], [1]])
  })

  it("is not touched by a key named __proto__", () => {
    const metadata = Metadata.fromEntries([
      ["__proto__", "polluted"],
      ["constructor", "x"]
    ])
    assert.strictEqual(metadata.get("__proto__"), "polluted")
    assert.deepStrictEqual(Object.keys(JSON.parse(JSON.stringify(metadata))), ["__proto__", "constructor"])
    assert.strictEqual(({} as Record<string, unknown>)["polluted"], undefined)
    assert.strictEqual(String(metadata), "Metadata { __proto__: <redacted>, constructor: <redacted> }")
    assert.strictEqual(Metadata.fromRecord(JSON.parse('{"__proto__":"p"}')).get("__proto__"), "p")
  })

  describe("shown", () => {
    const secret = Metadata.received(
      () => [
        ["authorization", "Bearer s3cret"],
        ["cookie", "s3cret"],
        ["x-s-bin", new TextEncoder().encode("s3cret")],
        ["content-type", "application/grpc"]
      ],
      undefined
    )
    const printers: ReadonlyArray<readonly [name: string, print: (u: unknown) => string]> = [
      ["String", String],
      ["JSON.stringify", JSON.stringify],
      ["inspect", inspect],
      ["inspect with everything on", (u: unknown) => inspect(u, { showHidden: true, depth: 9, getters: false })],
      [
        "inspect without custom printers",
        (u: unknown) => inspect(u, { customInspect: false, showHidden: true, depth: 9 })
      ],
      ["a spread", (u: unknown) => JSON.stringify({ ...(u as object) })],
      ["a template", (u: unknown) => `${u}`],
      ["a log of an object around it", (u: unknown) => inspect({ call: { metadata: u } }, { depth: 9 })]
    ]
    it.each(printers)("by %s hides values", (_, print) => {
      assert.notInclude(print(secret), "s3cret")
    })
    it("names keys, and values of the allow-list", () => {
      const text =
        "Metadata { authorization: <redacted>, cookie: <redacted>, x-s-bin: <redacted>, content-type: application/grpc }"
      assert.strictEqual(inspect(secret), text)
      assert.strictEqual(inspect(Metadata.empty), "Metadata {}")
    })
  })

  it("compares by its entries", () => {
    const a = Metadata.fromRecord({ "x-a": "1", "x-bin": bytes })
    const b = Metadata.fromRecord({ "x-a": "1", "x-bin": new Uint8Array([1, 2, 3]) })
    assert.isTrue(Equal.equals(a, b))
    assert.strictEqual(Hash.hash(a), Hash.hash(b))
    assert.isFalse(Equal.equals(a, Metadata.fromRecord({ "x-a": "2", "x-bin": bytes })))
    assert.isFalse(Equal.equals(a, Metadata.fromRecord({ "x-a": "1" })))
    assert.isTrue(Metadata.isMetadata(a))
    assert.isFalse(Metadata.isMetadata({ entries: [] }))
  })
})
