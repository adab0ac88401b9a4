import { assert, describe, it } from "@effect/vitest"
import { Metadata, RpcError, ThrownError } from "@hawser/grpc"
import { Cause, Effect, Fiber, Redacted } from "effect"
import { inspect } from "node:util"
import { call } from "../../support/channels.ts"
import { ScriptedWire } from "../../support/grpc/ScriptedWire.ts"

const secret = "canary-payload"

class NoSuchField extends Error {}

/** Everything that may be printed of a value. */
const printed = (value: unknown): string =>
  [
    inspect(value, { depth: 20, showHidden: true, getters: true }),
    JSON.stringify(value),
    String(value),
    Cause.pretty(Cause.fail(value))
  ].join("\n")

const hostile = (stack: unknown): Error => Object.defineProperty(new Error(secret), "stack", { value: stack })

describe("what foreign code has thrown", () => {
  const rows: ReadonlyArray<readonly [string, unknown, thrown: string, frames: boolean | undefined]> = [
    ["an error that quotes", new TypeError(`can't take ${secret}`), "TypeError", true],
    ["one of a class of its own", new NoSuchField(secret), "NoSuchField", true],
    ["one whose words look like frames", new Error(`no\n    at ${secret} (${secret}:1:1)`), "Error", true],
    ["one without words", new RangeError(), "RangeError", true],
    ["one with a cause", new Error("no", { cause: new Error(secret) }), "Error", true],
    ["one with fields", Object.assign(new Error("no"), { payload: secret, code: secret }), "Error", true],
    ["one that was renamed", Object.assign(new Error("no"), { name: secret }), "Error", undefined],
    ["one whose words were changed", Object.assign(new Error(secret), { message: "canary" }), "Error", undefined],
    [
      "one whose words were taken",
      Object.assign(new Error(`a\n    at ${secret} (x:1:1)`), { message: "" }),
      "Error",
      undefined
    ],
    ["one with a stack of its own", hostile(`${secret}\n    at ${secret} (x:1:1)`), "Error", false],
    ["one whose stack is no text", hostile({ secret }), "Error", false],
    ["a text", secret, "string", false],
    ["an object", { message: secret, stack: `Error: ${secret}\n    at f (x:1:1)` }, "Object", false],
    ["an object of no class", Object.assign(Object.create(null), { secret }), "object", false],
    ["an object of a class with an odd name", Object.create({ constructor: { name: secret } }), "object", false],
    ["nothing", null, "null", false],
    ["less than nothing", undefined, "undefined", false],
    [
      "an object that throws",
      new Proxy(
        {},
        {
          get: () => {
            throw new Error(secret)
          },
          getPrototypeOf: () => {
            throw new Error(secret)
          }
        }
      ),
      "object",
      false
    ]
  ]

  it.each(rows)("%s: is named, and not quoted", (_, original, thrown, frames) => {
    const error = ThrownError.of("response deserializer", original)
    assert.strictEqual(error.thrown, thrown)
    assert.strictEqual(Redacted.value(error.original), original)
    assert.notInclude(printed(error), secret)
    // When the first line of a stack is written depends on who writes it.
    if (frames === undefined) return
    assert.strictEqual(/\n {4}at /.test(error.stack ?? ""), frames, error.stack)
    if (frames === true) assert.include(error.stack, "ThrownError.test.ts")
  })
})

describe("a codec that throws", () => {
  const ends = [
    ["the request", "encode", "NotSent", "request serializer"],
    ["the response", "decode", "Answered", "response deserializer"]
  ] as const

  it.effect.each(ends)("at %s: the error names it, and its words are redacted", ([, codec, progress, by]) =>
    Effect.gen(function* () {
      const wire = new ScriptedWire()
      const original = new NoSuchField(secret)
      const refuse = () => {
        throw original
      }
      const one = call()
      const sent = wire.channel.unary({ ...one, method: { ...one.method, [codec]: refuse } })
      const fiber = yield* Effect.forkChild(Effect.flip(sent), { startImmediately: true })
      if (codec === "decode") {
        wire.grant()
        wire.listener!.onMessage(Buffer.from(secret))
        wire.listener!.onStatus(0, "", Metadata.empty, "Answered")
      }
      const error = yield* Fiber.join(fiber)
      assert.isTrue(RpcError.isRpcError(error))
      assert.strictEqual(error.progress, progress)
      assert.notInclude(printed(error), secret)
      assert.include(inspect(error), `the ${by} threw a NoSuchField`)
      const { cause } = error
      assert.isTrue(cause instanceof ThrownError.ThrownError && Redacted.value(cause.original) === original)
    })
  )
})
