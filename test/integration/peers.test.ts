import { assert, beforeAll, describe, it } from "@effect/vitest"
import type { RpcError } from "@hawser/grpc/RpcError"
import { Effect, Result, type Scope, Stream } from "effect"
import * as v8 from "node:v8"
import * as vm from "node:vm"
import { gzipSync } from "node:zlib"
import * as Client from "../support/grpc/client.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { leavesNothing } from "../support/grpc/eventually.ts"
import * as Http2Server from "../support/grpc/Http2Server.ts"
import * as Wire from "../support/grpc/PeersWire.ts"
import * as TcpServer from "../support/grpc/TcpServer.ts"

type Peer = Effect.Effect<{ readonly address: string }, never, Scope.Scope>

/** What comes of a call: one verdict, or any of some where the peer and the network race. */
type Verdict = string | ReadonlyArray<string>

interface Row {
  readonly peer: Peer
  readonly unary: Verdict
  /** Of a server stream; left out: the same. */
  readonly stream?: Verdict
  /** The deadline: short where nothing else ends the call. */
  readonly timeout?: number
  /** Bytes of the request. */
  readonly request?: number
}

const raw = (manners: TcpServer.Manners): Peer => TcpServer.make(manners)
const answering = (one: Wire.Answer): Peer => raw(Wire.answering(one))
const onCall = (onCall: Wire.Speech["onCall"] & {}): Peer => raw(Wire.talking({ onCall }))
const greeting = (greeting: Buffer): Peer => raw(Wire.talking({ greeting }))

const brief = 400
const ample = 8_000

const trailersOnly = (...fields: Wire.Fields): Peer => answering({ head: Wire.open(...fields), ends: true })
const trailers = (...fields: Wire.Fields): Peer => answering({ head: Wire.open(), body: Wire.message(), tail: fields })
const body = (bytes: Uint8Array, ...head: Wire.Fields): Peer =>
  answering({ head: Wire.open(...head), body: bytes, tail: [["grpc-status", "0"]] })
const page = (status: string, text: string, ...more: Wire.Fields): Peer =>
  answering({ head: [[":status", status], ...more], body: Buffer.from(text), ends: true })
const html = ["content-type", "text/html"] as const

const noise = Buffer.from(Array.from({ length: 4_096 }, (_, i) => (i * 7 + (i >> 3)) % 251))
const bomb = Buffer.concat(Array.from({ length: 50 }, () => gzipSync(Buffer.alloc(1_048_576))))

const lost = "MaybeProcessed: Unavailable"
const unsent = "NotSent: Unavailable"
const silent = "MaybeProcessed: DeadlineExceeded by Us in Sent"
const refused = "Refused: Unavailable"
const stuck = "Answered: DeadlineExceeded by Us in Receiving"
const broken = "Answered: Unavailable"
const unknown = "Answered: Unknown"
const internal = "Answered: Internal"
const tooLarge = "Answered: ResourceExhausted by Us"

const beforeReady: Record<string, Row> = {
  "resets the connection at once": { peer: raw((socket) => void socket.resetAndDestroy()), unary: unsent },
  "hangs up at once": { peer: raw(TcpServer.rude), unary: unsent },
  "sends noise": { peer: raw((socket) => void socket.resume().write(noise)), unary: unsent },
  "sends noise without end": { peer: raw((socket) => Wire.flood(socket.resume(), noise)), unary: unsent },
  "speaks HTTP/1.1": { peer: raw(TcpServer.babbling), unary: unsent },
  "accepts and is silent": {
    peer: raw(TcpServer.silent),
    unary: "NotSent: DeadlineExceeded by Us in Connecting",
    timeout: brief
  },
  "greets with GOAWAY": { peer: greeting(Wire.goaway(0, 0)), unary: unsent },
  "greets, and says goodbye in the same breath": {
    peer: greeting(Buffer.concat([Wire.settings(), Wire.goaway(0, 0)])),
    unary: [unsent, refused]
  },
  "greets with a PING": { peer: greeting(Wire.frame(Wire.kind.ping, 0, 0, Buffer.alloc(8))), unary: unsent },
  "greets with SETTINGS of five bytes": {
    peer: greeting(Wire.frame(Wire.kind.settings, 0, 0, Buffer.alloc(5))),
    unary: unsent
  },
  "greets with a window above 2 GiB": { peer: greeting(Wire.settings([4, 0xffff_ffff])), unary: unsent },
  "greets with frames of no size": { peer: greeting(Wire.settings([5, 0])), unary: unsent },
  "lets no stream in": {
    peer: greeting(Wire.settings([3, 0])),
    unary: "NotSent: DeadlineExceeded by Us in Queued",
    timeout: brief
  }
}

const inHttp2: Record<string, Row> = {
  "is silent after its greeting": { peer: greeting(Wire.settings()), unary: silent, timeout: brief },
  "floods with SETTINGS": {
    peer: onCall((_, __, socket) =>
      Wire.flood(socket, Buffer.concat(Array.from({ length: 500 }, () => Wire.settings())))
    ),
    unary: lost
  },
  "floods with PINGs": {
    peer: onCall((_, __, socket) =>
      Wire.flood(
        socket,
        Buffer.concat(Array.from({ length: 500 }, () => Wire.frame(Wire.kind.ping, 0, 0, Buffer.alloc(8))))
      )
    ),
    unary: lost
  },
  "floods with empty DATA": {
    peer: onCall((stream, send, socket) => {
      send(Wire.headers(stream, Wire.open()))
      Wire.flood(socket, Buffer.concat(Array.from({ length: 500 }, () => Wire.data(stream, Buffer.alloc(0)))))
    }),
    unary: broken
  },
  "sends headers without an end": {
    peer: onCall((stream, send, socket) => {
      send(Wire.frame(Wire.kind.headers, 0, stream, Wire.block(Wire.open())))
      Wire.flood(socket, Wire.frame(Wire.kind.continuation, 0, stream, Wire.block([["x", "y".repeat(8_000)]])))
    }),
    unary: lost
  },
  "stops in the middle of its headers": {
    peer: onCall((stream, send) => send(Wire.frame(Wire.kind.headers, 0, stream, Wire.block(Wire.open())))),
    unary: silent,
    timeout: brief
  },
  "sends a thousand headers": {
    peer: trailersOnly(...Array.from({ length: 1_000 }, (_, i) => [`x-${i}`, "y"] as const), ["grpc-status", "0"]),
    unary: lost
  },
  "sends a header of 15 kB": {
    peer: trailersOnly(["x", "y".repeat(15_000)], ["grpc-status", "5"]),
    unary: "Answered: NotFound"
  },
  "sends headers that are no HPACK": {
    peer: onCall((stream, send) => send(Wire.frame(Wire.kind.headers, 5, stream, Buffer.alloc(20, 0xff)))),
    unary: lost
  },
  "sends names in capitals": {
    peer: trailersOnly(["X-Loud", "y"], ["grpc-status", "0"]),
    unary: lost
  },
  "sends line breaks in a header": {
    peer: trailersOnly(["x", "a\r\nb"], ["grpc-status", "5"]),
    unary: "Answered: NotFound"
  },
  "sends a frame longer than allowed": {
    peer: onCall((stream, send) => send(Wire.frame(Wire.kind.data, 0, stream, Buffer.alloc(20_000)))),
    unary: lost
  },
  "sends DATA on no stream": { peer: onCall((_, send) => send(Wire.data(0, Buffer.alloc(5)))), unary: lost },
  "sends DATA before headers": {
    peer: onCall((stream, send) => send(Wire.data(stream, Wire.message(), true))),
    unary: lost
  },
  "sends on a stream that nobody opened": {
    peer: onCall((_, send) => send(Wire.headers(99, Wire.open()))),
    unary: lost
  },
  pushes: {
    peer: onCall((stream, send) =>
      send(Wire.frame(Wire.kind.push, 4, stream, Buffer.concat([Wire.numbers(2), Wire.block([[":path", "/"]])])))
    ),
    unary: lost
  },
  "widens the window beyond its limit": {
    peer: onCall((stream, send) => {
      for (let i = 0; i < 2; i++) send(Wire.frame(Wire.kind.window, 0, stream, Wire.numbers(0x7fff_ffff)))
    }),
    unary: lost
  },
  "widens the connection's window by nothing": {
    peer: onCall((_, send) => send(Wire.frame(Wire.kind.window, 0, 0, Wire.numbers(0)))),
    unary: lost
  },
  "sends frames of a kind that nobody knows, and answers": {
    peer: onCall((stream, send) => {
      for (let i = 0; i < 100; i++) send(Wire.frame(200, 0xff, stream, noise))
      send(Wire.answer(stream, Wire.good))
    }),
    unary: "OK"
  },
  "never lets the request in": {
    peer: greeting(Wire.settings([4, 0])),
    unary: silent,
    timeout: brief,
    request: 100_000
  },
  "says goodbye below the call": { peer: onCall((_, send) => send(Wire.goaway(0, 0))), unary: refused },
  "says goodbye to be calmed, with the call": {
    peer: onCall((stream, send) => send(Wire.goaway(stream, 11))),
    unary: lost
  },
  "says goodbye above the call, and answers": {
    peer: onCall((stream, send) => {
      send(Wire.goaway(stream, 0))
      send(Wire.answer(stream, Wire.good))
    }),
    unary: "OK"
  },
  "drips one byte at a time": {
    peer: raw(Wire.talking({ sender: Wire.drip, onCall: (stream, send) => send(Wire.answer(stream, Wire.good)) })),
    unary: "OK"
  }
}

/** How gRPC reads a status of HTTP; the rest is unknown. */
const proxied: Readonly<Record<string, string>> = {
  200: "Unavailable",
  204: "Unavailable",
  302: "Unknown",
  400: "Internal",
  401: "Unauthenticated",
  403: "PermissionDenied",
  404: "Unimplemented",
  429: "Unavailable",
  500: "Unknown",
  502: "Unavailable",
  503: "Unavailable",
  504: "Unavailable",
  999: "Unknown"
}

const statuses: ReadonlyArray<readonly [string, string, string]> = [
  ["no number", "abc", unknown],
  ["999", "999", unknown],
  ["17", "17", unknown],
  ["negative", "-1", unknown],
  ["a fraction", "1.5", unknown],
  // grpc-js reads it with Number().
  ["in hexadecimal", "0x5", "Answered: NotFound"],
  ["beyond all numbers", "9".repeat(400), unknown],
  ["5 with a space", "5 ", unknown]
]

const inStatus: Record<string, Row> = {
  ...Object.fromEntries(
    statuses.flatMap(([what, status, unary]) => [
      [`ends with a status that is ${what}, in trailers only`, { peer: trailersOnly(["grpc-status", status]), unary }],
      [`ends with a status that is ${what}, after a message`, { peer: trailers(["grpc-status", status]), unary }]
    ])
  ),
  "ends without a status, in trailers only": { peer: trailersOnly(), unary: unknown },
  "ends without a status, after a message": { peer: trailers(["x", "y"]), unary: unknown },
  "ends without trailers, after a message": {
    peer: answering({ head: Wire.open(), body: Wire.message(), ends: true }),
    unary: broken
  },
  "ends with two statuses": { peer: trailers(["grpc-status", "0"], ["grpc-status", "5"]), unary: unknown },
  "ends with a text that is no percent-encoding": {
    peer: trailersOnly(["grpc-status", "5"], ["grpc-message", "%zz%"]),
    unary: "Answered: NotFound"
  },
  "ends with details that are no base64": {
    peer: trailersOnly(["grpc-status", "5"], ["grpc-status-details-bin", "*?*"]),
    unary: "Answered: NotFound"
  },
  "ends with :status in its trailers": { peer: trailers([":status", "200"], ["grpc-status", "0"]), unary: broken },
  "puts the status into headers that do not end": {
    peer: answering({ head: Wire.open(["grpc-status", "5"]) }),
    unary: stuck,
    timeout: brief
  },
  "sends headers and no more": { peer: answering({ head: Wire.open() }), unary: stuck, timeout: brief },
  "sends a message after its trailers": {
    peer: onCall((stream, send) =>
      send(Buffer.concat([Wire.answer(stream, Wire.good), Wire.data(stream, Wire.message())]))
    ),
    unary: "OK"
  },
  "sends trailers without an end": {
    peer: onCall((stream, send) =>
      send(
        Buffer.concat([
          Wire.answer(stream, { head: Wire.open(), body: Wire.message() }),
          Wire.headers(stream, [["grpc-status", "0"]])
        ])
      )
    ),
    unary: broken
  }
}

const inHttp: Record<string, Row> = {
  ...Object.fromEntries(
    Object.entries(proxied).map(([status, tag]) => [
      `is a proxy with a page and ${status}`,
      { peer: page(status, "<html>no</html>", html), unary: `MaybeProcessed: ${tag}` }
    ])
  ),
  "answers with a status of HTTP that is no number": { peer: page("abc", "", html), unary: lost },
  "answers without a status of HTTP": { peer: answering({ head: [html], ends: true }), unary: lost },
  "answers early, again and again": {
    peer: onCall((stream, _, socket) => Wire.flood(socket, Wire.headers(stream, [[":status", "103"]]))),
    unary: silent,
    timeout: brief
  },
  "answers with a type of JSON": { peer: page("200", "{}", ["content-type", "application/json"]), unary: lost },
  "answers without a type": { peer: page("200", "{}"), unary: lost },
  "answers with another type, but as gRPC": {
    peer: answering({
      ...Wire.good,
      head: [
        [":status", "200"],
        ["content-type", "text/plain"]
      ]
    }),
    unary: "OK"
  }
}

const inMessages: Record<string, Row> = {
  "sends no message, and OK": {
    peer: trailersOnly(["grpc-status", "0"]),
    unary: internal,
    stream: "OK"
  },
  "sends two messages": {
    peer: body(Buffer.concat([Wire.message(), Wire.message()])),
    unary: internal,
    stream: "OK"
  },
  "sends messages without end": {
    peer: Http2Server.make((s) => {
      s.open()
      const some = Buffer.alloc(5_000)
      const go = () => {
        while (!s.stream.destroyed && s.stream.write(some));
        if (!s.stream.destroyed) s.stream.once("drain", go)
      }
      go()
    }),
    unary: [internal, stuck],
    stream: stuck,
    timeout: brief
  },
  "sends a message that is no protobuf": { peer: body(Wire.message(Buffer.from([0xff, 0xff, 0xff]))), unary: internal },
  "sends an encoding that nobody knows": {
    peer: body(Wire.message(Buffer.from([1]), { compressed: 1 }), ["grpc-encoding", "zorp"]),
    unary: internal
  },
  "sends an encoding that nobody knows, and OK without a message": {
    peer: trailersOnly(["grpc-encoding", "zorp"], ["grpc-status", "0"]),
    unary: internal,
    stream: "OK"
  },
  "sends an encoding that nobody knows, and no message in it": {
    peer: body(Wire.message(), ["grpc-encoding", "zorp"]),
    unary: "OK"
  },
  "says compressed, and not how": { peer: body(Wire.message(Buffer.from([1]), { compressed: 1 })), unary: internal },
  "says compressed in a number that nobody knows": {
    peer: body(Wire.message(Buffer.alloc(0), { compressed: 7 }), ["grpc-encoding", "gzip"]),
    unary: "OK"
  },
  "sends gzip that is none": {
    peer: body(Wire.message(noise, { compressed: 1 }), ["grpc-encoding", "gzip"]),
    unary: internal
  },
  "sends half of a gzip": {
    peer: body(Wire.message(gzipSync(noise).subarray(0, 100), { compressed: 1 }), ["grpc-encoding", "gzip"]),
    unary: internal
  },
  "sends deflate that is none": {
    peer: body(Wire.message(noise, { compressed: 1 }), ["grpc-encoding", "deflate"]),
    unary: internal
  },
  "sends 50 MiB in 50 kB": {
    peer: body(Wire.message(bomb, { compressed: 1 }), ["grpc-encoding", "gzip"]),
    unary: tooLarge
  },
  "says 2 GiB, and ends": { peer: body(Wire.message(Buffer.alloc(10), { length: 0x7fff_ffff })), unary: tooLarge },
  "says 4 GiB, and ends": { peer: body(Wire.message(Buffer.alloc(10), { length: 0xffff_ffff })), unary: tooLarge },
  "says 1 GiB, and sends no more": {
    peer: answering({ head: Wire.open(), body: Wire.message(Buffer.alloc(10), { length: 0x4000_0000 }) }),
    unary: tooLarge
  },
  // grpc-js drops what is not a whole message without a word: a stream can't tell.
  "says more than it sends": {
    peer: body(Wire.message(Buffer.alloc(10), { length: 11 })),
    unary: internal,
    stream: "OK"
  },
  "sends half a prefix": { peer: body(Buffer.alloc(3)), unary: internal, stream: "OK" },
  "sends more than the limit": {
    peer: Http2Server.make((s) => {
      s.message(Buffer.alloc(5_000_000))
      s.end()
    }),
    unary: tooLarge
  }
}

const resets: Record<string, Row> = Object.fromEntries(
  [...Array.from({ length: 14 }, (_, i) => i), 0xffff_ffff].flatMap((code) => [
    [
      `resets the call with ${code}`,
      {
        peer: onCall((stream, send) => send(Wire.rst(stream, code))),
        unary: code === 7 ? refused : code === 12 ? "MaybeProcessed: PermissionDenied" : lost
      }
    ],
    [
      `resets the call with ${code} after headers`,
      {
        peer: onCall((stream, send) =>
          send(Buffer.concat([Wire.headers(stream, Wire.open()), Wire.rst(stream, code)]))
        ),
        unary: code === 12 ? "Answered: PermissionDenied" : broken
      }
    ]
  ])
)

/** In the greeting; before, in and after the headers; in the message; in the trailers, up to their last byte. */
const cuts: Record<string, Row> = Object.fromEntries(
  [0, 1, 8, 9, 18, 19, 27, 50, 70, 71, 75, 80, 85, 95, 108].map((n) => [
    `ends the connection after ${n} bytes`,
    {
      peer: raw(
        Wire.talking({ sender: Wire.cutAfter(n), onCall: (stream, send) => send(Wire.answer(stream, Wire.good)) })
      ),
      unary: n < 9 ? unsent : n <= 18 ? [unsent, lost] : n < 80 ? lost : broken
    }
  ])
)

/** What an error says, as one line. */
const verdict = (error: RpcError): string => {
  const { reason } = error
  const by = "by" in reason ? ` by ${reason.by}` : ""
  const phase = "phase" in reason ? ` in ${reason.phase}` : ""
  return `${error.progress}: ${reason._tag}${by}${phase}`
}

const watch = { id: "w", count: 1, delayMillis: 0, payload: Buffer.alloc(0), failCode: 0 }

/** One call to a peer with a client of its own: what came of it, in time. */
const settle = (peer: string, kind: "unary" | "stream", { request = 0, timeout = ample, ...row }: Row) =>
  Effect.gen(function* () {
    const client = yield* Client.make({ endpoints: [peer], connections: { max: 1 } })
    const payload = Buffer.alloc(request)
    // Where the deadline is short, it is for the answer of a peer that has greeted, not for the dial.
    if (timeout === brief && !String(row.unary).startsWith("NotSent")) yield* Effect.ignore(client.cluster.awaitReady())
    const began = performance.now()
    const call =
      kind === "unary"
        ? client.echo.echo(Client.request({ payload }), { timeout })
        : Stream.runDrain(client.echo.watch({ ...watch, payload }, { timeout }))
    const result = yield* Effect.result(call as Effect.Effect<unknown, RpcError>)
    assert.isAtMost(performance.now() - began, timeout + 1_100)
    assert.strictEqual((yield* client.cluster.snapshot).root.inFlight, 0)
    if (Result.isSuccess(result)) return "OK"
    assert.include(codes, result.failure.code)
    return verdict(result.failure)
  })

const codes = Array.from({ length: 16 }, (_, i) => i + 1)

/** Calls to a good server by another client, which nothing here may harm. */
const bystander = Effect.gen(function* () {
  const server = yield* EchoServer.make()
  const client = yield* Client.make({ endpoints: [server.address] })
  const some = Effect.orDie(client.echo.echo(Client.request({ id: "well" }), { timeout: ample }))
  return { calls: Effect.repeat(some, { times: 4 }) }
})

/** Bytes that are left after a collection, those of buffers too. */
const collect = (): number => {
  v8.setFlagsFromString("--expose-gc")
  const gc = vm.runInNewContext("gc") as () => void
  gc()
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

describe("a peer that", () => {
  let before = 0
  beforeAll(() => {
    before = collect()
  })

  it.live("is polite is answered, again and again", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* TcpServer.make(Wire.answering(Wire.good))
        const row: Row = { peer: Effect.succeed(server), unary: "OK" }
        for (let i = 0; i < 5; i++) {
          assert.strictEqual(yield* settle(server.address, "unary", row), "OK")
          assert.strictEqual(yield* settle(server.address, "stream", row), "OK")
        }
      })
    )
  )

  const table = { ...beforeReady, ...inHttp2, ...inStatus, ...inHttp, ...inMessages, ...resets, ...cuts }
  for (const [what, row] of Object.entries(table)) {
    it.live(what, () =>
      leavesNothing(
        Effect.gen(function* () {
          const { address } = yield* row.peer
          const others = yield* bystander
          const [unary, stream] = yield* Effect.all(
            [settle(address, "unary", row), settle(address, "stream", row), others.calls],
            { concurrency: "unbounded" }
          )
          yield* others.calls
          const expected = (one: Verdict): ReadonlyArray<string> => (typeof one === "string" ? [one] : one)
          assert.include(expected(row.unary), unary)
          assert.include(expected(row.stream ?? row.unary), stream)
        })
      )
    )
  }

  it.live("did any of that has left less than 32 MiB", () =>
    Effect.sync(() => assert.isBelow(collect() - before, 32 * 1_048_576))
  )
})
