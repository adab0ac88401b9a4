import { assert, describe, it } from "@effect/vitest"
import { ConnectError } from "@hawser/core"
import { Metadata, RpcError, Status } from "@hawser/grpc"

const grpc = Metadata.received(() => [["content-type", "application/grpc"]], undefined)
const other = Metadata.received(() => [["x-trailer", "1"]], undefined)
const none = Metadata.empty
const progresses = ["NotSent", "Refused", "MaybeProcessed", "Answered"] as const

const reason = (
  code: number | undefined,
  progress: RpcError.Progress,
  metadata: Metadata.Metadata | undefined = none,
  details = "",
  byUs = false
) => Status.reason(code, details, metadata, progress, byUs, "Sent")

const tag = (code: number, progress: RpcError.Progress, metadata: Metadata.Metadata) => {
  const it = reason(code, progress, metadata)
  return "by" in it ? `${it._tag} by ${it.by}` : it._tag
}

describe("progressOf", () => {
  const refused: Status.Evidence = {
    sent: true,
    headersSeen: false,
    code: 14,
    details: "Stream refused by server",
    metadataEmpty: true,
    grpcContentType: false
  }
  it.each<readonly [string, Partial<Status.Evidence>, RpcError.Progress]>([
    ["never sent", { sent: false }, "NotSent"],
    ["never sent, whatever else is said", { sent: false, headersSeen: true, grpcContentType: true }, "NotSent"],
    ["refused by the transport", {}, "Refused"],
    ["the same text from a server", { metadataEmpty: false, grpcContentType: true }, "Answered"],
    ["the same text with metadata of a proxy", { metadataEmpty: false }, "MaybeProcessed"],
    ["the same text after headers", { headersSeen: true, grpcContentType: true }, "Answered"],
    ["the same text with another code", { code: 13 }, "MaybeProcessed"],
    ["another text", { details: "Stream refused by Server" }, "MaybeProcessed"],
    ["dropped before headers", { details: "Connection dropped" }, "MaybeProcessed"],
    [
      "dropped after gRPC headers",
      { details: "Connection dropped", headersSeen: true, grpcContentType: true },
      "Answered"
    ],
    ["an HTML 503", { details: "Received HTTP status code 503", headersSeen: true }, "MaybeProcessed"],
    ["answered OK", { code: 0, details: "", headersSeen: true, grpcContentType: true }, "Answered"]
  ])("%s", (_, evidence, progress) => {
    assert.strictEqual(Status.progressOf({ ...refused, ...evidence }), progress)
  })
})

describe("isGrpc", () => {
  it.each([
    ["application/grpc", true],
    ["application/grpc+proto", true],
    ["application/grpc;charset=utf-8", true],
    ["Application/GRPC", true],
    ["application/grpc-web", false],
    ["application/grpcish", false],
    ["text/html", false]
  ])("%s: %s", (type, is) => {
    assert.strictEqual(Status.isGrpc(Metadata.received(() => [["content-type", type]], undefined)), is)
  })
  it("needs a content type", () => {
    assert.isFalse(Status.isGrpc(undefined))
    assert.isFalse(Status.isGrpc(none))
    assert.isFalse(Status.isGrpc(Metadata.received(() => [["content-type", new Uint8Array()]], undefined)))
  })
})

// One line per code. `lost` is a status with no metadata that was not answered; `said` came from the server itself.
const table: ReadonlyArray<readonly [code: number, lost: string, said: string]> = [
  [1, "Unavailable", "Cancelled"],
  [2, "Unknown", "Unknown"],
  [3, "InvalidArgument", "InvalidArgument"],
  [4, "DeadlineExceeded by Us", "DeadlineExceeded by Server"],
  [5, "NotFound", "NotFound"],
  [6, "AlreadyExists", "AlreadyExists"],
  [7, "PermissionDenied", "PermissionDenied"],
  [8, "Unavailable", "ResourceExhausted by Server"],
  [9, "FailedPrecondition", "FailedPrecondition"],
  [10, "Aborted", "Aborted"],
  [11, "OutOfRange", "OutOfRange"],
  [12, "Unimplemented", "Unimplemented"],
  [13, "Unavailable", "Internal"],
  [14, "Unavailable", "Unavailable"],
  [15, "DataLoss", "DataLoss"],
  [16, "Unauthenticated", "Unauthenticated"]
]

describe("reason", () => {
  describe.each(table)("of code %i", (code, lost, said) => {
    it.each(["NotSent", "Refused", "MaybeProcessed"] as const)(`made without an answer, %s, is ${lost}`, (progress) => {
      assert.strictEqual(tag(code, progress, none), lost)
    })
    it(`said by the server, in trailers only or after headers, is ${said}`, () => {
      assert.strictEqual(tag(code, "Answered", grpc), said)
      assert.strictEqual(tag(code, "Answered", other), said)
      assert.strictEqual(tag(code, "Answered", none), said)
    })
    it("keeps the details", () => {
      for (const progress of progresses) assert.strictEqual(reason(code, progress, grpc, "why").details, "why")
    })
  })

  it.each<readonly [string, number, string, RpcError.Progress, string]>([
    // After headers a reset is told from a status in trailers by grpc-js's own words.
    ["reset after headers", 13, "Received RST_STREAM with code 2 (Internal server error)", "Answered", "Unavailable"],
    ["dropped after headers", 14, "Connection dropped", "Answered", "Unavailable"],
    ["reset before headers", 13, "Received RST_STREAM with code 2", "MaybeProcessed", "Unavailable"],
    ["told to calm down", 8, "Bandwidth exhausted or memory limit exceeded", "MaybeProcessed", "Unavailable"],
    ["told to calm down after headers", 8, "Bandwidth exhausted or memory limit exceeded", "Answered", "Unavailable"],
    ["reset with CANCEL", 1, "Call cancelled", "MaybeProcessed", "Unavailable"],
    ["reset with CANCEL after headers", 1, "Call cancelled", "Answered", "Unavailable"],
    ["a stream that can't be started", 13, "Failed to start HTTP/2 stream with error x", "NotSent", "Unavailable"],
    [
      "a page of HTML, read as a length",
      8,
      "Received message larger than max (1752460652 vs 4194304)",
      "MaybeProcessed",
      "Unavailable"
    ],
    ["an HTTP 400 of a proxy", 13, "Received HTTP status code 400", "MaybeProcessed", "Internal"],
    ["an HTTP 401 of a proxy", 16, "Received HTTP status code 401", "MaybeProcessed", "Unauthenticated"],
    ["an HTTP 503 of a proxy", 14, "Received HTTP status code 503", "MaybeProcessed", "Unavailable"]
  ])("%s", (_, code, details, progress, expected) => {
    assert.strictEqual(reason(code, progress, none, details)._tag, expected)
  })

  it.each([
    ["an answer above our limit", "Received message larger than max (5000000 vs 4194304)", "Answered"],
    [
      "an answer that inflates above our limit",
      "Received message that decompresses to a size larger than 4194304",
      "Answered"
    ],
    ["a request above our limit", "Attempted to send message with a size larger than 4194304", "NotSent"]
  ] as const)("%s is ResourceExhausted by Us, and nobody's overload", (_, details, progress) => {
    assert.deepStrictEqual(reason(8, progress, none, details), { _tag: "ResourceExhausted", details, by: "Us" })
  })

  it("says whose deadline it was, and what the time was spent on", () => {
    const ours = "Deadline exceeded after 0.100s,remote_addr=127.0.0.1:1"
    assert.deepStrictEqual(Status.reason(4, ours, none, "Answered", false, "Receiving"), {
      _tag: "DeadlineExceeded",
      details: ours,
      phase: "Receiving",
      by: "Us"
    })
    assert.deepInclude(Status.reason(4, "too slow", grpc, "Answered", false, "Sent"), { by: "Server", phase: "Sent" })
    assert.deepInclude(Status.reason(4, "too slow", grpc, "Answered", true, "Sent"), { by: "Us" })
    // What grpc-js's own server says, in trailers after headers.
    const its = Status.reason(4, "Deadline exceeded", none, "Answered", false, "Receiving")
    assert.deepInclude(its, { by: "Server", phase: "Receiving" })
  })

  it("calls it Cancelled where we cancelled", () => {
    for (const progress of progresses) {
      assert.strictEqual(reason(1, progress, none, "Cancelled on client", true)._tag, "Cancelled")
    }
  })

  it("of no code at all is Internal: a message came that could not be read", () => {
    for (const progress of progresses) {
      const made = reason(undefined, progress)
      assert.strictEqual(made._tag, "Internal")
      assert.match(made.details, /grpc-encoding is missing or none of identity, deflate and gzip/)
      assert.deepStrictEqual(reason(undefined, progress, grpc, "odd"), { _tag: "Internal", details: "odd" })
    }
  })

  it.each([NaN, 999, 17, -1, 1.5])("of the illegal code %s is Unknown and names it", (code) => {
    for (const progress of progresses) {
      assert.deepStrictEqual(reason(code, progress), { _tag: "Unknown", details: `illegal status code ${code}` })
      assert.strictEqual(reason(code, progress, grpc, "odd").details, `odd (illegal status code ${code})`)
    }
  })

  it("of OK without an answer is Internal", () => {
    assert.strictEqual(reason(0, "Answered")._tag, "Internal")
    assert.strictEqual(reason(0, "Answered", grpc, "no message").details, "no message")
  })

  it("takes missing details and metadata for empty ones", () => {
    assert.deepStrictEqual(Status.reason(5, undefined, undefined, "Answered", false, "Sent"), {
      _tag: "NotFound",
      details: ""
    })
  })

  it("keeps why there is no connection", () => {
    const connect = new ConnectError.ConnectError({ reason: { _tag: "Refused" } })
    const it = Status.reason(14, "No connection", none, "NotSent", false, "Connecting", connect)
    assert.deepStrictEqual(it, { _tag: "Unavailable", details: "No connection", connect })
  })
})

describe("outcome", () => {
  const plain = (tag: RpcError.Tag): RpcError.RpcReason => reason(RpcError.codes[tag], "Answered", grpc)

  // One line per status, as the server ended it: NotSent, Refused, MaybeProcessed, Answered.
  const rows: ReadonlyArray<readonly [RpcError.Tag, string, string, string, string]> = [
    ["Cancelled", "Neutral", "Overloaded", "Failure", "Success"],
    ["Unknown", "Neutral", "Overloaded", "Failure", "Failure"],
    ["InvalidArgument", "Neutral", "Overloaded", "Failure", "Success"],
    ["DeadlineExceeded", "Neutral", "Failure", "Failure", "Failure"],
    ["NotFound", "Neutral", "Overloaded", "Failure", "Success"],
    ["AlreadyExists", "Neutral", "Overloaded", "Failure", "Success"],
    ["PermissionDenied", "Neutral", "Overloaded", "Failure", "Success"],
    ["ResourceExhausted", "Neutral", "Overloaded", "Failure", "Overloaded"],
    ["FailedPrecondition", "Neutral", "Overloaded", "Failure", "Success"],
    ["Aborted", "Neutral", "Overloaded", "Failure", "Success"],
    ["OutOfRange", "Neutral", "Overloaded", "Failure", "Success"],
    ["Unimplemented", "Neutral", "Overloaded", "Failure", "Success"],
    ["Internal", "Neutral", "Overloaded", "Failure", "Failure"],
    ["Unavailable", "Neutral", "Overloaded", "Failure", "Failure"],
    ["DataLoss", "Neutral", "Overloaded", "Failure", "Failure"],
    ["Unauthenticated", "Neutral", "Overloaded", "Failure", "Success"]
  ]
  it.each(rows)("of %s", (tag, ...expected) => {
    const outcomes: ReadonlyArray<string> = progresses.map((progress) => Status.outcome(plain(tag), progress, "Server"))
    assert.deepStrictEqual(outcomes, expected)
  })

  it.each(rows)("of %s that we cancelled is Neutral, or a Failure where it was not in time", (tag) => {
    const late = tag === "DeadlineExceeded" ? "Failure" : "Neutral"
    assert.deepStrictEqual(
      progresses.map((progress) => Status.outcome(plain(tag), progress, "Us")),
      ["Neutral", late, late, late]
    )
  })

  it.each(rows)("of %s with the connection gone is Broken", (tag) => {
    for (const progress of progresses) assert.strictEqual(Status.outcome(plain(tag), progress, "Connection"), "Broken")
  })

  it.each(progresses)("of OK is Success, %s", (progress) => {
    for (const by of ["Us", "Server", "Connection"] as const) {
      assert.strictEqual(Status.outcome(undefined, progress, by), "Success")
    }
  })

  it("of an answer above our own limit is Neutral", () => {
    assert.strictEqual(
      Status.outcome({ _tag: "ResourceExhausted", details: "", by: "Us" }, "Answered", "Server"),
      "Neutral"
    )
  })
})
