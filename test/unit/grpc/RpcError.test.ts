import { assert, describe, it } from "@effect/vitest"
import { ConnectError } from "@hawser/core"
import { Metadata, RpcError } from "@hawser/grpc"
import { Cause, Effect } from "effect"
import { inspect } from "node:util"

const path = "/demo.Greeter/SayHello"
const notFound = RpcError.of(path, { _tag: "NotFound", details: "nobody" }, "Answered")

const statuses: ReadonlyArray<readonly [RpcError.Tag, number, string]> = [
  ["Cancelled", 1, "CANCELLED"],
  ["Unknown", 2, "UNKNOWN"],
  ["InvalidArgument", 3, "INVALID_ARGUMENT"],
  ["DeadlineExceeded", 4, "DEADLINE_EXCEEDED"],
  ["NotFound", 5, "NOT_FOUND"],
  ["AlreadyExists", 6, "ALREADY_EXISTS"],
  ["PermissionDenied", 7, "PERMISSION_DENIED"],
  ["ResourceExhausted", 8, "RESOURCE_EXHAUSTED"],
  ["FailedPrecondition", 9, "FAILED_PRECONDITION"],
  ["Aborted", 10, "ABORTED"],
  ["OutOfRange", 11, "OUT_OF_RANGE"],
  ["Unimplemented", 12, "UNIMPLEMENTED"],
  ["Internal", 13, "INTERNAL"],
  ["Unavailable", 14, "UNAVAILABLE"],
  ["DataLoss", 15, "DATA_LOSS"],
  ["Unauthenticated", 16, "UNAUTHENTICATED"]
]

describe("RpcError", () => {
  it.each(statuses)("knows %s as %i, %s", (tag, code, name) => {
    assert.strictEqual(RpcError.codes[tag], code)
    assert.strictEqual(RpcError.tagOf(code), tag)
    assert.strictEqual(RpcError.statusNames[code], name)
  })

  it.each([0, 17, 999, -1, 1.5, NaN, Infinity])("has no tag for the code %d", (code) => {
    assert.strictEqual(RpcError.tagOf(code), undefined)
  })

  it("has a status name for each of the 17 codes", () => {
    assert.lengthOf(RpcError.statusNames, 17)
    assert.strictEqual(RpcError.statusNames[0], "OK")
  })

  it.each([
    [{}, `${path}: NotFound nobody (Answered)`],
    [{ endpoint: "a:1" }, `${path}: NotFound nobody (Answered, a:1)`],
    [{ endpoint: "a:1", connection: "a:1#3" }, `${path}: NotFound nobody (Answered, a:1#3)`],
    [{ connection: "a:1#3", attempts: 2 }, `${path}: NotFound nobody (Answered, a:1#3, attempt 2)`]
  ])("says what, how far and where: %o", (facts, message) => {
    const error = RpcError.of(path, notFound.reason, "Answered", facts)
    assert.strictEqual(error.message, message)
    assert.include(error.stack, message)
  })

  it.each([
    ["NotSent", true],
    ["Refused", true],
    ["MaybeProcessed", false],
    ["Answered", false]
  ] as const)("with progress %s is unsent: %s", (progress, unsent) => {
    const error = RpcError.of(path, notFound.reason, progress)
    assert.strictEqual(error.isUnsent, unsent)
    assert.strictEqual(RpcError.isUnsent(error), unsent)
  })

  it("is recognised", () => {
    assert.isTrue(RpcError.isRpcError(notFound))
    assert.isTrue(notFound instanceof Error)
    assert.isFalse(RpcError.isRpcError(new Error("x")))
    assert.isFalse(RpcError.isRpcError(undefined))
  })

  it.effect("is caught by reason", () =>
    Effect.gen(function* () {
      const caught = yield* notFound.pipe(
        Effect.catchReason("RpcError", "NotFound", (reason, error) => Effect.succeed([reason.details, error.code]))
      )
      assert.deepStrictEqual(caught, ["nobody", 5])
      const other = yield* Effect.exit(
        notFound.pipe(Effect.catchReason("RpcError", "Unavailable", () => Effect.succeed("no")))
      )
      assert.strictEqual(other._tag, "Failure")
    })
  )

  it("shows no metadata values, whoever prints it", () => {
    const metadata = Metadata.received(
      () => [
        ["x-token", "s3cret"],
        ["grpc-status", "14"]
      ],
      undefined
    )
    const connect = new ConnectError.ConnectError({ reason: { _tag: "Refused" }, endpoint: "a:1" })
    const error = RpcError.of(path, { _tag: "Unavailable", details: "no route", connect }, "NotSent", {
      metadata,
      cause: connect
    })
    for (const text of [
      inspect(error),
      inspect(error, { depth: 9, showHidden: true }),
      inspect({ error }, { depth: 9 }),
      inspect(error, { customInspect: false, depth: 9 }),
      JSON.stringify(error),
      JSON.stringify({ error }),
      String(error),
      Cause.pretty(Cause.fail(error))
    ]) {
      assert.notInclude(text, "s3cret")
      assert.include(text, "no route")
    }
    assert.include(inspect(error), "x-token: <redacted>, grpc-status: 14")
    assert.include(inspect(error), "[cause]: ConnectError: Refused (a:1)")
    const json = JSON.parse(JSON.stringify(error))
    assert.deepStrictEqual(json.reason, { _tag: "Unavailable", connect: "Refused (a:1)", details: "no route" })
    assert.strictEqual(json.cause, "Refused (a:1)")
    assert.strictEqual(json.progress, "NotSent")
  })

  it("fills in one attempt and no wait", () => {
    assert.strictEqual(notFound.attempts, 1)
    assert.strictEqual(notFound.waitedMillis, 0)
  })
})
