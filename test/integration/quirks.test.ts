import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Endpoint } from "@hawser/core"
import * as Credentials from "@hawser/grpc/Credentials"
import * as GrpcJs from "@hawser/grpc/GrpcJs"
import { sessionOf } from "@hawser/grpc/GrpcJsSettings"
import type { Progress } from "@hawser/grpc/RpcError"
import { Effect, Exit, Scope } from "effect"
import { EchoRequest } from "../generated/echo.ts"
import * as certificate from "../support/grpc/certificate.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { eventually, leavesNothing } from "../support/grpc/eventually.ts"
import * as frames from "../support/grpc/frames.ts"
import * as Http2Server from "../support/grpc/Http2Server.ts"
import * as PeersWire from "../support/grpc/PeersWire.ts"
import { untilEnded } from "../support/grpc/sessionEnd.ts"
import * as TcpServer from "../support/grpc/TcpServer.ts"
import { AsyncLocalStorage } from "node:async_hooks"

const options = {
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_retries": 0,
  "grpc.per_rpc_retry_buffer_size": 0
}

const path = "/hawser.test.v1.Echo/Echo"
const bytes = Buffer.from(
  EchoRequest.encode({ id: "a", payload: Buffer.alloc(0), delayMillis: 0, failCode: 0 }).finish()
)

const open = (address: string, more: grpc.ChannelOptions = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => new grpc.Channel(`ipv4:${address}`, grpc.credentials.createInsecure(), { ...options, ...more })),
    (channel) => Effect.sync(() => channel.close())
  )

const readyState = (channel: grpc.Channel, wanted: grpc.connectivityState) =>
  Effect.callback<void>((resume) => {
    const look = (state: grpc.connectivityState): void => {
      if (state === wanted) process.nextTick(() => resume(Effect.void))
      else channel.watchConnectivityState(state, Infinity, () => look(channel.getConnectivityState(false)))
    }
    look(channel.getConnectivityState(true))
  })

interface RawCall {
  readonly call: ReturnType<grpc.Channel["createCall"]>
  headers: number
  messages: number
  written: boolean
  status: grpc.StatusObject | undefined
}

const start = (
  channel: grpc.Channel,
  metadata = new grpc.Metadata(),
  deadline = Infinity,
  seen = () => {}
): RawCall => {
  const raw = prepare(channel, metadata, deadline, seen)
  raw.call.sendMessageWithContext({ callback: () => void (raw.written = true) }, bytes)
  raw.call.halfClose()
  raw.call.startRead()
  return raw
}

/** A call that has sent nothing but its headers. */
const prepare = (
  channel: grpc.Channel,
  metadata = new grpc.Metadata(),
  deadline = Infinity,
  seen = () => {}
): RawCall => {
  const call = channel.createCall(path, deadline, null, null, null)
  const raw: RawCall = { call, headers: 0, messages: 0, written: false, status: undefined }
  raw.call.start(metadata, {
    onReceiveMetadata: () => void raw.headers++,
    onReceiveMessage: () => void raw.messages++,
    onReceiveStatus: (status) => {
      raw.status = status
      seen()
    }
  })
  return raw
}

describe("what the adapter relies on in grpc-js", () => {
  it.live("metadata is cloned when a call starts, so that all calls can share an empty one", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const channel = yield* open(server.address)
        const shared = new grpc.Metadata()
        const raw = start(channel, shared, Date.now() + 10_000)
        yield* eventually("answered", () => raw.status !== undefined)
        assert.strictEqual(raw.status!.code, 0)
        assert.deepStrictEqual(shared.getMap(), {})
      })
    )
  )

  it.live("getAuthContext() is null if and only if the call was never sent", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ behaviour: EchoServer.holding })
        const channel = yield* open(server.address)
        yield* readyState(channel, grpc.connectivityState.READY)
        const raw = start(channel)
        assert.isNull(raw.call.getAuthContext())
        yield* server.until("running", (s) => s.running === 1)
        assert.isNotNull(raw.call.getAuthContext())
        server.drop()
        yield* eventually("lost", () => raw.status !== undefined)
        assert.isNotNull(raw.call.getAuthContext())

        const nobody = yield* open(yield* TcpServer.refused)
        const unsent = start(nobody)
        yield* eventually("refused", () => unsent.status !== undefined)
        assert.strictEqual(unsent.status!.code, grpc.status.UNAVAILABLE)
        assert.isNull(unsent.call.getAuthContext())
      })
    )
  )

  it.live("a call that is cancelled in the turn of its start is sent all the same, and runs for ever", () =>
    leavesNothing(
      Effect.gen(function* () {
        // If this fails, grpc-js was mended: GrpcJsCall need not end a call again and again any more.
        const server = yield* EchoServer.make({ behaviour: EchoServer.holding })
        const channel = yield* open(server.address)
        yield* readyState(channel, grpc.connectivityState.READY)
        const raw = start(channel)
        raw.call.cancelWithStatus(grpc.status.CANCELLED, "ours")
        yield* server.until("running", (s) => s.running === 1)
        assert.strictEqual(raw.status?.code, grpc.status.CANCELLED)
        server.drop()
      })
    )
  )

  it.live("the peer's SETTINGS are where the adapter looks for them", () =>
    leavesNothing(
      Effect.gen(function* () {
        // If this fails, grpc-js moved the session: find it anew in GrpcJsSettings.sessionOf, or remove that function.
        // Nothing else breaks: the adapter then learns the limit from writes that are held back.
        const server = yield* Http2Server.make(Http2Server.polite, { maxConcurrentStreams: 7 })
        const channel = yield* open(server.address)
        yield* readyState(channel, grpc.connectivityState.READY)
        assert.strictEqual(sessionOf(channel)?.remoteSettings.maxConcurrentStreams, 7)
      })
    )
  )

  it.live("a channel leaves READY in the turn of the loss, before its calls have their status", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ behaviour: EchoServer.holding })
        const channel = yield* open(server.address)
        yield* readyState(channel, grpc.connectivityState.READY)
        const order: Array<string> = []
        channel.watchConnectivityState(grpc.connectivityState.READY, Infinity, () => order.push("left"))
        const raw = start(channel, new grpc.Metadata(), Infinity, () => order.push("status"))
        yield* server.until("running", (s) => s.running === 1)
        server.drop()
        yield* eventually("lost", () => raw.status !== undefined)
        assert.deepStrictEqual(order, ["left", "status"])
      })
    )
  )

  it.live("a dial that hangs leaves a socket behind in grpc-js, and none with the adapter's hook", () =>
    leavesNothing(
      Effect.gen(function* () {
        const plain = yield* TcpServer.make(TcpServer.silent)
        const channel = yield* open(plain.address)
        channel.getConnectivityState(true)
        yield* plain.until("accepted", (s) => s.accepted === 1)
        channel.close()

        const hooked = yield* TcpServer.make(TcpServer.silent)
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        const connector = yield* Effect.orDie(GrpcJs.make().connector(transport))
        const endpoint = Endpoint.makeUnsafe({ addresses: [hooked.address] })
        yield* Effect.forkScoped(Effect.exit(Scope.provide(connector(endpoint), scope)))
        yield* hooked.until("accepted", (s) => s.accepted === 1)
        yield* Scope.close(scope, Exit.void)
        yield* hooked.until("closed", (s) => s.sockets.size === 0)
        assert.strictEqual(plain.sockets.size, 1)
      })
    )
  )
})

/** A status as one line: code, text, names of the metadata, how many headers and messages came before it. */
const verdict = ({ headers, messages, status }: RawCall): string => {
  const { code, details, metadata } = status!
  const names = Object.keys(metadata.getMap()).filter((name) => name !== "date")
  return `${code} "${details}" [${names.join()}] after ${headers} and ${messages}`
}

const ended = (raw: RawCall) => eventually("ended", () => raw.status !== undefined)

describe("what Status relies on in grpc-js: the text and shape of a status that", () => {
  const statuses: ReadonlyArray<readonly [string, Http2Server.Script, RegExp]> = [
    ["is alone has the content type", (s) => s.trailersOnly("5", "gone"), /^5 "gone" \[content-type\] after 0 and 0$/],
    [
      "follows headers has none",
      (s) => {
        s.open()
        setImmediate(() => s.end("5", { "grpc-message": "gone" }))
      },
      /^5 "gone" \[\] after 1 and 0$/
    ],
    ["is no number is NaN", (s) => s.trailersOnly("abc"), /^NaN "" /],
    ["does not exist is passed on", (s) => s.trailersOnly("999"), /^999 "" /],
    [
      "a reset with NO_ERROR makes",
      (s) => {
        s.open()
        setImmediate(() => s.reset(0))
      },
      /^13 "Received RST_STREAM with code 0 \(.*" \[\] after 1 and 0$/
    ],
    ["a reset with INTERNAL_ERROR makes", (s) => s.reset(2), /^13 "Received RST_STREAM with code 2 .*" \[\] after 0/],
    ["a refusal makes", (s) => s.reset(7), /^14 "Stream refused by server" \[\] after 0 and 0$/],
    ["a reset with CANCEL makes, as ours would", (s) => s.reset(8), /^1 "Call cancelled" \[\] after 0 and 0$/],
    [
      "a reset with ENHANCE_YOUR_CALM makes",
      (s) => s.reset(11),
      /^8 "Bandwidth exhausted or memory limit exceeded" \[\] after 0 and 0$/
    ],
    [
      "HTTP's 503 makes, after headers",
      (s) => s.page(503, "<html>"),
      /^14 "Received HTTP status code 503" \[\] after 1/
    ],
    [
      "a page with HTTP's 200 makes: its text is read as a length",
      (s) => s.page(200, "<html>no gRPC here</html>"),
      /^8 "Received message larger than max \(\d+ vs \d+\)" \[\] after 1 and 0$/
    ],
    [
      "a loss of the connection makes",
      (s) => s.session.socket.resetAndDestroy(),
      /^14 "(?:Connection dropped|read ECONNRESET)" \[\] after 0 and 0$/
    ],
    [
      "a goodbye with ENHANCE_YOUR_CALM makes, though the stream is one that the server knows",
      (s) => s.session.goaway(11, s.stream.id!),
      /^8 "Bandwidth exhausted or memory limit exceeded" \[\] after 0 and 0$/
    ],
    [
      "a goodbye with INTERNAL_ERROR makes, though the stream is one that the server knows",
      (s) => s.session.goaway(2, s.stream.id!),
      /^13 "Received RST_STREAM with code 2 .*Session closed.*" \[\] after 0 and 0$/
    ]
  ]
  for (const [what, script, expected] of statuses) {
    it.live(what, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* Http2Server.make(script)
          const raw = start(yield* open(server.address))
          yield* ended(raw)
          assert.match(verdict(raw), expected)
          // Nothing was sent again.
          assert.strictEqual(server.streams.length, 1)
        })
      )
    )
  }

  it.live("a goodbye below the stream makes is that of a refusal", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* TcpServer.make(frames.byHand((_, writer) => writer.goaway(0, 0)))
        const raw = start(yield* open(server.address))
        yield* ended(raw)
        assert.match(verdict(raw), /^14 "Stream refused by server" \[\] after 0 and 0$/)
      })
    )
  )

  it.live("a deadline makes, before and after headers", () =>
    leavesNothing(
      Effect.gen(function* () {
        for (const [script, expected] of [
          [() => {}, /^4 "Deadline exceeded after .*" \[\] after 0 and 0$/],
          [(s: Http2Server.ServerStream) => s.open(), /^4 "Deadline exceeded after .*" \[\] after 1 and 0$/]
        ] as const) {
          const server = yield* Http2Server.make(script)
          const channel = yield* open(server.address)
          yield* readyState(channel, grpc.connectivityState.READY)
          const raw = start(channel, new grpc.Metadata(), Date.now() + 200)
          yield* ended(raw)
          assert.match(verdict(raw), expected)
        }
      })
    )
  )

  it.live("a message above the limit makes, either way", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) => s.message(Buffer.alloc(100)))
        const small = { "grpc.max_receive_message_length": 10, "grpc.max_send_message_length": -1 }
        const channel = yield* open(server.address, small)
        const raw = start(channel)
        yield* ended(raw)
        assert.match(verdict(raw), /^8 "Received message larger than max \(100 vs 10\)" \[\] after 1 and 0$/)

        const narrow = yield* open(server.address, { "grpc.max_send_message_length": 1 })
        const sent = start(narrow)
        yield* ended(sent)
        assert.match(verdict(sent), /^8 "Attempted to send message with a size larger than 1" \[\] after 0 and 0$/)
      })
    )
  )

  it.live("an unknown encoding makes has no code at all", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* TcpServer.make(
          PeersWire.answering({
            head: PeersWire.open(["grpc-encoding", "zstd"]),
            body: PeersWire.message(Buffer.from("x"), { compressed: 1 }),
            tail: [["grpc-status", "0"]]
          })
        )
        const raw = start(yield* open(server.address))
        yield* ended(raw)
        assert.strictEqual(raw.status!.code, undefined)
      })
    )
  )
})

describe("what calls rely on in grpc-js", () => {
  it.live("each read brings one message, and OK waits until one more is asked for than there are", () =>
    leavesNothing(
      Effect.gen(function* () {
        // If this fails, UnaryCall need not ask for a second message any more.
        const server = yield* Http2Server.make((s) => {
          s.message()
          s.message()
          s.end()
        })
        const channel = yield* open(server.address)
        const raw = start(channel)
        yield* eventually("a message", () => raw.messages === 1)
        // What is answered later comes later.
        server.script = Http2Server.polite
        const later = start(channel)
        yield* eventually("a later one", () => later.messages === 1)
        assert.strictEqual(raw.messages, 1)
        assert.isUndefined(raw.status)
        raw.call.startRead()
        yield* eventually("the second message", () => raw.messages === 2)
        yield* ended(raw)
        assert.strictEqual(raw.status!.code, 0)
        later.call.cancelWithStatus(1, "")
      })
    )
  )

  it.live("an error waits for no reader", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make((s) => {
          s.message()
          s.message()
          s.end("13")
        })
        const raw = start(yield* open(server.address))
        yield* ended(raw)
        assert.strictEqual(raw.status!.code, 13)
        assert.isAtMost(raw.messages, 1)
      })
    )
  )

  it.live("requests that are given up look complete to the server, and then cancelled", () =>
    leavesNothing(
      Effect.gen(function* () {
        // If this fails, Node resets a stream without ending it first: the virtual network must learn that.
        const sent: Array<string> = []
        const server = yield* TcpServer.make((socket) => {
          PeersWire.talking({})(socket)
          socket.on("data", (chunk: Buffer) => sent.push(...kinds(chunk)))
        })
        const raw = prepare(yield* open(server.address))
        raw.call.sendMessageWithContext({ callback: () => void (raw.written = true) }, bytes)
        yield* eventually("written", () => raw.written && sent.includes("data"))
        raw.call.cancelWithStatus(grpc.status.CANCELLED, "ours")
        yield* eventually("reset", () => sent.includes("reset"))
        assert.deepStrictEqual(sent.slice(sent.indexOf("data")), ["data", "end", "reset"])
      })
    )
  )

  it.live("a write above the peer's stream limit is not acknowledged until a stream ends", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Http2Server.make(() => {}, { maxConcurrentStreams: 1 })
        const channel = yield* open(server.address)
        yield* readyState(channel, grpc.connectivityState.READY)
        const first = start(channel)
        yield* server.until("one", (s) => s.streams.length === 1)
        const second = start(channel)
        yield* eventually("written", () => first.written)
        // Handed to the connection, and held back there.
        yield* eventually("sent", () => second.call.getAuthContext() !== null)
        assert.isFalse(second.written)
        Http2Server.polite(server.streams[0]!)
        yield* server.until("two", (s) => s.streams.length === 2)
        yield* eventually("written", () => second.written)
        second.call.cancelWithStatus(1, "")
        first.call.cancelWithStatus(1, "")
      })
    )
  )
})

/** The frames in one piece of what a client sends, after its preface. */
const kinds = (chunk: Buffer): ReadonlyArray<string> => {
  const preface = chunk.indexOf("\r\n\r\nSM\r\n\r\n")
  const seen: Array<string> = []
  for (let at = preface < 0 ? 0 : preface + 10; at + 9 <= chunk.length; at += 9 + chunk.readUIntBE(at, 3)) {
    const ends = (chunk[at + 4]! & PeersWire.flag.endStream) !== 0
    if (chunk[at + 3] === PeersWire.kind.data) seen.push(ends ? "end" : "data")
    if (chunk[at + 3] === PeersWire.kind.rst) seen.push("reset")
  }
  return seen
}

describe("what sessions rely on in grpc-js", () => {
  it.live("READY is told a moment before the connection is in its place", () =>
    leavesNothing(
      Effect.gen(function* () {
        // If this fails, GrpcJsSession.ready need not wait for the next tick.
        const server = yield* Http2Server.make()
        const channel = yield* open(server.address)
        const seen: Array<boolean> = []
        yield* Effect.callback<void>((resume) => {
          const look = (state: grpc.connectivityState): void => {
            if (state !== grpc.connectivityState.READY) {
              return channel.watchConnectivityState(state, Infinity, () => look(channel.getConnectivityState(false)))
            }
            seen.push(sessionOf(channel) !== undefined)
            process.nextTick(() => {
              seen.push(sessionOf(channel) !== undefined)
              resume(Effect.void)
            })
          }
          look(channel.getConnectivityState(true))
        })
        assert.deepStrictEqual(seen, [false, true])
      })
    )
  )

  it.live("new SETTINGS are known to the session, and announced by no event", () =>
    leavesNothing(
      Effect.gen(function* () {
        // If this fails, GrpcJsSettings.stated can follow the event instead of a timer.
        const server = yield* Http2Server.make(Http2Server.polite, { maxConcurrentStreams: 1 })
        const channel = yield* open(server.address)
        yield* readyState(channel, grpc.connectivityState.READY)
        const session = sessionOf(channel)!
        let events = 0
        session.on("remoteSettings", () => void events++)
        assert.strictEqual(session.remoteSettings.maxConcurrentStreams, 1)
        for (const one of server.sessions) one.settings({ maxConcurrentStreams: 2 })
        // Answered after them.
        const raw = start(channel)
        raw.call.startRead()
        yield* eventually("the answer", () => raw.messages === 1)
        raw.call.startRead()
        yield* ended(raw)
        assert.strictEqual(session.remoteSettings.maxConcurrentStreams, 2)
        assert.strictEqual(events, 0)
      })
    )
  )

  it.live("a channel that is closed answers what is in flight, and throws at whoever calls or watches", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ behaviour: EchoServer.holding })
        const channel = yield* open(server.address)
        const raw = start(channel)
        yield* server.until("running", (s) => s.running === 1)
        channel.close()
        assert.strictEqual(channel.getConnectivityState(false), grpc.connectivityState.SHUTDOWN)
        assert.throws(() => prepare(channel))
        assert.throws(() => channel.watchConnectivityState(grpc.connectivityState.READY, Infinity, () => {}))
        server.calls[0]!.answer()
        yield* eventually("answered", () => raw.messages === 1)
        raw.call.startRead()
        yield* ended(raw)
        assert.strictEqual(raw.status!.code, 0)
      })
    )
  )

  it.live("a channel that has lost its connection dials again for a call", () =>
    leavesNothing(
      Effect.gen(function* () {
        // If this fails, a session need not close its channel in the turn of the loss.
        const server = yield* EchoServer.make()
        const channel = yield* open(server.address)
        yield* readyState(channel, grpc.connectivityState.READY)
        yield* server.until("one", (s) => s.accepted === 1)
        const left = Effect.callback<void>((resume) =>
          channel.watchConnectivityState(grpc.connectivityState.READY, Infinity, () => resume(Effect.void))
        )
        server.goaway()
        yield* left
        const raw = start(channel)
        yield* server.until("two", (s) => s.accepted === 2)
        yield* eventually("answered", () => raw.messages === 1)
        raw.call.cancelWithStatus(1, "")
      })
    )
  )

  it.live("a failed dial is repeated a second later, though the channel is closed", () =>
    leavesNothing(
      Effect.gen(function* () {
        // If this fails, DialSockets need not allow one dial only.
        const server = yield* TcpServer.make(TcpServer.rude)
        const channel = yield* open(server.address)
        yield* readyState(channel, grpc.connectivityState.TRANSIENT_FAILURE)
        assert.strictEqual(server.accepted, 1)
        channel.close()
        yield* server.until("dialled again", (s) => s.accepted === 2)
      })
    )
  )

  it.live("channels with a pool of their own share no socket", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        for (let i = 0; i < 2; i++) yield* readyState(yield* open(server.address), grpc.connectivityState.READY)
        assert.strictEqual(server.accepted, 2)
      })
    )
  )
})

const secured = grpc.ServerCredentials.createSsl(null, [
  { cert_chain: Buffer.from(certificate.cert), private_key: Buffer.from(certificate.key) }
])
const transport = {
  credentials: Credentials.insecure,
  authority: "localhost",
  maxReceiveBytes: 4_194_304,
  userAgent: "test"
}

const dial = (address: string, credentials = Credentials.insecure) =>
  Effect.orDie(
    Effect.flatMap(GrpcJs.make().connector({ ...transport, credentials }), (connector) =>
      connector(Endpoint.makeUnsafe({ addresses: [address] }))
    )
  )

describe("a session of the adapter", () => {
  for (const security of ["plaintext", "TLS"] as const) {
    it.live(`has heard its peer when anything at all has come, over ${security}`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* EchoServer.make({
            behaviour: EchoServer.holding,
            ...(security === "TLS" ? { credentials: secured } : {})
          })
          const credentials = security === "TLS" ? Credentials.tls({ ca: certificate.cert }) : Credentials.insecure
          const session = yield* dial(server.address, credentials)
          let headers = false
          const wire = session.connection.start(
            { path, metadata: undefined, deadline: Infinity, attempt: 1 },
            {
              onHeaders: () => {
                headers = true
              },
              onMessage: () => {},
              onStatus: () => {}
            }
          )
          wire.send(bytes)
          wire.end()
          wire.read()
          yield* server.until("running", (s) => s.running === 1)
          yield* settled(session)
          const before = session.heardAt()
          assert.strictEqual(session.heardAt(), before)
          server.calls[0]!.sendHeaders()
          yield* eventually("headers", () => headers)
          assert.isAbove(session.heardAt(), before)
          wire.cancel()
        })
      )
    )
  }

  /** Waits until what comes with the greeting has been heard: nothing new in a while. */
  const settled = (session: { readonly heardAt: () => number }) => {
    let heard = session.heardAt()
    let since = performance.now()
    return eventually("quiet", () => {
      if (session.heardAt() !== heard) {
        heard = session.heardAt()
        since = performance.now()
      }
      return performance.now() - since > 100
    })
  }
})

describe("a dial of the adapter", () => {
  it.live("leaves nothing of its caller's context with the connection", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const storage = new AsyncLocalStorage<string>()
        const seen: Array<string | undefined> = []
        storage.enterWith("a request")
        const session = yield* dial(server.address)
        session.listen(() => seen.push(storage.getStore()))
        server.goaway()
        yield* eventually("ended", () => session.ended() !== undefined)
        storage.disable()
        assert.deepStrictEqual(seen, [undefined])
      })
    )
  )
})

describe("the end of a session of the adapter", () => {
  const listener = { onHeaders: () => {}, onMessage: () => {} }
  interface Inside {
    readonly newest: unknown
    readonly sockets: { readonly sockets: ReadonlyArray<unknown> }
  }
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length

  it.live("comes after its sockets have closed, though a call runs", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make({ behaviour: EchoServer.holding })
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        const { connection } = yield* Scope.provide(dial(server.address), scope)
        const inside = connection as unknown as Inside
        let code = -1
        const wire = connection.start(
          { path, metadata: undefined, deadline: Infinity, attempt: 1 },
          { ...listener, onStatus: (n) => void (code = n) }
        )
        wire.send(bytes)
        wire.end()
        yield* server.until("running", (s) => s.running === 1)
        assert.isDefined(inside.newest)
        assert.strictEqual(inside.sockets.sockets.length, 1)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(inside.sockets.sockets.length, 0)
        assert.strictEqual(code, 14)
        assert.isUndefined(inside.newest)
      })
    )
  )

  it.live("is a goodbye that leaves no timer where nothing runs any more", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const before = timers()
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        const { connection } = yield* Scope.provide(dial(server.address), scope)
        const inside = connection as unknown as Inside
        let ended = false
        const wire = connection.start(
          { path, metadata: undefined, deadline: Infinity, attempt: 1 },
          { ...listener, onStatus: () => void (ended = true) }
        )
        wire.send(bytes)
        wire.end()
        wire.read()
        yield* eventually("answered", () => ended)
        assert.isUndefined(inside.newest)
        yield* Scope.close(scope, Exit.void)
        assert.isAtMost(timers(), before)
      })
    )
  )
})

describe("a call of the adapter that ends before it is sent", () => {
  const statuses = (seen: Array<readonly [number, Progress]>) => ({
    onHeaders: () => {},
    onMessage: () => {},
    onStatus: (code: number, _: string, __: unknown, progress: Progress) => void seen.push([code, progress])
  })

  it.live("is never seen by the server when it is cancelled in the turn of its start", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const { connection } = yield* dial(server.address)
        const seen: Array<readonly [number, Progress]> = []
        const wire = connection.start({ path, metadata: undefined, deadline: Infinity, attempt: 1 }, statuses(seen))
        wire.send(bytes)
        wire.end()
        wire.read()
        wire.cancel()
        // What is sent later on the same connection arrives later.
        const later = connection.start({ path, metadata: undefined, deadline: Infinity, attempt: 1 }, statuses(seen))
        later.send(bytes)
        later.end()
        later.read()
        yield* eventually("ended", () => seen.length === 2)
        assert.deepStrictEqual(seen, [
          [1, "NotSent"],
          [0, "Answered"]
        ])
        assert.strictEqual(server.calls.length, 1)
      })
    )
  )

  it.live("is never seen by the server when its deadline has passed at its start", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const { connection } = yield* dial(server.address)
        const seen: Array<readonly [number, Progress]> = []
        for (const deadline of [-1, Infinity]) {
          const wire = connection.start({ path, metadata: undefined, deadline, attempt: 1 }, statuses(seen))
          wire.send(bytes)
          wire.end()
          wire.read()
        }
        yield* eventually("ended", () => seen.length === 2)
        assert.deepStrictEqual(seen, [
          [4, "NotSent"],
          [0, "Answered"]
        ])
        assert.strictEqual(server.calls.length, 1)
      })
    )
  )

  it.live("is told so when the connection had ended before its start", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const session = yield* dial(server.address)
        const { connection } = session
        server.goaway()
        yield* untilEnded(session)
        const seen: Array<readonly [number, Progress]> = []
        const wire = connection.start({ path, metadata: undefined, deadline: Infinity, attempt: 1 }, statuses(seen))
        wire.send(bytes)
        wire.end()
        wire.read()
        assert.deepStrictEqual(seen, [])
        yield* eventually("ended", () => seen.length === 1)
        assert.deepStrictEqual(seen, [[14, "NotSent"]])
        assert.strictEqual(server.accepted, 1)
      })
    )
  )

  it.live("ends unsent when the connection is lost in the turn of its start, and its channel does not redial", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* EchoServer.make()
        const { connection } = yield* dial(server.address)
        const seen: Array<readonly [number, Progress]> = []
        const wire = connection.start({ path, metadata: undefined, deadline: Infinity, attempt: 1 }, statuses(seen))
        wire.send(bytes)
        wire.end()
        wire.read()
        sessionOf((connection as unknown as { readonly channel: grpc.Channel }).channel)!.emit("goaway", 0, 0)
        yield* eventually("ended", () => seen.length === 1)
        assert.deepStrictEqual(seen, [[14, "NotSent"]])
        // Whoever dials later is accepted later.
        yield* dial(server.address)
        yield* server.until("accepted", (s) => s.acknowledged >= 2)
        assert.strictEqual(server.accepted, 2)
        assert.strictEqual(server.calls.length, 0)
      })
    )
  )
})
