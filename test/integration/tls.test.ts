import { assert, describe, it } from "@effect/vitest"
import { Retry } from "@hawser/grpc"
import * as Credentials from "@hawser/grpc/Credentials"
import { Effect, type Scope, Stream } from "effect"
import * as Client from "../support/grpc/client.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { leavesNothing } from "../support/grpc/eventually.ts"
import { answering, good, kind } from "../support/grpc/PeersWire.ts"
import * as TcpServer from "../support/grpc/TcpServer.ts"
import * as Certificates from "../support/grpc/TlsCertificates.ts"
import * as TlsServer from "../support/grpc/TlsServer.ts"

const authority = Certificates.make({ name: "good authority", ca: true })
const stranger = Certificates.make({ name: "another authority", ca: true })
const server = Certificates.make({ name: "server", issuer: authority })
const client = Certificates.make({ name: "client", issuer: authority })

const canary = "CANARY-IN-THE-PAYLOAD"
const trusting = Credentials.tls({ ca: authority.cert })
const presenting = ({ cert, key }: Certificates.Identity) => Credentials.tls({ ca: authority.cert, cert, key })
const watch = { id: "w", count: 3, delayMillis: 0, payload: Buffer.from(canary), failCode: 0 }

/** Each kind of call once. */
const everyKind = (echo: Client.TestClient["echo"]) =>
  Effect.gen(function* () {
    const payload = Buffer.from(canary)
    assert.strictEqual((yield* echo.echo(Client.request({ id: "u", payload }))).id, "u")
    assert.strictEqual((yield* Stream.runCollect(echo.watch(watch))).length, 3)
    assert.strictEqual((yield* echo.upload(Stream.make({ payload }, { payload }))).messages, 2)
    const said = yield* Stream.runCollect(echo.chat(Stream.make({ id: "a", payload }, { id: "b", payload })))
    assert.deepStrictEqual(
      said.map((one) => one.id),
      ["a", "b"]
    )
  }).pipe(Effect.orDie)

describe("TLS carries all four kinds of call", () => {
  const ways: ReadonlyArray<readonly [string, TlsServer.TlsServerOptions, Client.ClientOptions, string]> = [
    ["with an authority of one's own", { identity: server }, { credentials: trusting }, "127.0.0.1:"],
    [
      "with certificates on both sides",
      { identity: server, clients: authority.cert },
      { credentials: presenting(client) },
      "127.0.0.1:"
    ],
    [
      "with a client that another authority vouches for, whom the server trusts",
      { identity: server, clients: stranger.cert },
      { credentials: presenting(Certificates.make({ name: "client", issuer: stranger })) },
      "127.0.0.1:"
    ],
    [
      "with a name that only the certificate has",
      { identity: Certificates.make({ name: "server", issuer: authority, hosts: ["inner.example"] }) },
      {
        authority: "outer.example:443",
        credentials: Credentials.tls({ ca: authority.cert, serverName: "inner.example" })
      },
      "outer.example:443"
    ],
    [
      "with the authority as the name",
      { identity: Certificates.make({ name: "server", issuer: authority, hosts: ["outer.example"] }) },
      { authority: "outer.example:443", credentials: trusting },
      "outer.example:443"
    ]
  ]
  for (const [how, there, here, named] of ways) {
    it.live(how, () =>
      leavesNothing(
        Effect.gen(function* () {
          const server = yield* TlsServer.make(there)
          const observer = yield* TlsServer.observe(server.port)
          const { echo } = yield* Client.make({ endpoints: [observer.address], ...here })
          yield* everyKind(echo)
          assert.strictEqual(server.authorities.length, 4)
          for (const one of server.authorities) assert.include(one, named)
          assert.include(observer.records() ?? [], "Encrypted")
          assert.notInclude(observer.sent().toString("latin1"), canary)
        })
      )
    )
  }

  it.live("with a name in the target", () =>
    leavesNothing(
      Effect.gen(function* () {
        const one = yield* TlsServer.make({ identity: server })
        const { echo } = yield* Client.make({ target: `dns:///localhost:${one.port}`, credentials: trusting })
        yield* everyKind(echo)
        assert.deepStrictEqual(new Set(one.authorities), new Set([`localhost:${one.port}`]))
      })
    )
  )
})

/** A server, and how many calls have reached it. */
interface There {
  readonly port: number
  readonly calls: () => number
}
type Peer = Effect.Effect<There, never, Scope.Scope>

const real = (options: TlsServer.TlsServerOptions): Peer =>
  Effect.map(TlsServer.make(options), ({ authorities, port }) => ({ port, calls: () => authorities.length }))
const showing = (request: Partial<Certificates.Request>): Peer =>
  real({ identity: Certificates.make({ name: "server", issuer: authority, ...request }) })
const demanding = real({ identity: server, clients: authority.cert })
const bare = (options: { readonly ALPNProtocols?: Array<string> }): Peer =>
  Effect.map(TlsServer.bare({ cert: server.cert, key: server.key, ...options }), ({ decrypted, port }) => ({
    port,
    calls: () => Number(decrypted().includes(canary))
  }))
const alerting = (alert: number): Peer =>
  Effect.map(TcpServer.make(TlsServer.alerting(alert)), ({ port }) => ({ port, calls: () => 0 }))

/** The kinds of HTTP/2 frames after the greeting of a client. */
const framesOf = (bytes: Buffer): ReadonlyArray<number> => {
  const kinds: Array<number> = []
  for (let at = 24; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) kinds.push(bytes[at + 3]!)
  return kinds
}

describe("TLS that is set up wrong fails closed", () => {
  const tls = (problem: string) => ({ _tag: "Tls", problem })
  interface Wrong {
    readonly there: Peer
    readonly here?: Client.ClientOptions
    readonly reason: object
    /** That the client never gets as far as to encrypt anything. */
    readonly shut?: boolean
  }
  const complaints: ReadonlyArray<readonly [what: string, alert: number, problem: string]> = [
    ["a failed handshake", 40, "Other"],
    ["a bad certificate", 42, "Other"],
    ["an expired certificate", 45, "Other"],
    ["an unknown issuer", 48, "Other"],
    ["a name that it does not serve", 112, "Other"],
    ["a missing certificate", 116, "NoClientCertificate"]
  ]
  const wrong: Record<string, Wrong> = {
    "a certificate that has expired": { there: showing({ from: -2, to: -1 }), reason: tls("Expired"), shut: true },
    "a certificate of tomorrow": { there: showing({ from: 1, to: 2 }), reason: tls("Expired"), shut: true },
    "an issuer that nobody knows": {
      there: showing({ issuer: stranger }),
      reason: tls("UnknownIssuer"),
      shut: true
    },
    "a certificate that signs itself": {
      there: real({ identity: Certificates.make({ name: "server" }) }),
      reason: tls("UnknownIssuer"),
      shut: true
    },
    "the name of another host": { there: showing({ hosts: ["other.example"] }), reason: tls("WrongHost"), shut: true },
    "no certificate of the client": { there: demanding, reason: tls("NoClientCertificate") },
    // Node hangs up without an alert; others say why, see below.
    "a certificate of the client that is refused without a word": {
      there: demanding,
      here: { credentials: presenting(Certificates.make({ name: "client", issuer: stranger })) },
      reason: { _tag: "Closed" }
    },
    "a server that speaks plaintext": {
      there: Effect.map(EchoServer.make(), (server) => ({ port: server.port, calls: () => server.calls.length })),
      reason: tls("Other"),
      shut: true
    },
    "a server that offers only HTTP/1.1": {
      there: bare({ ALPNProtocols: ["http/1.1"] }),
      reason: tls("Other"),
      shut: true
    },
    ...Object.fromEntries(
      complaints.map(([what, alert, problem]): [string, Wrong] => [
        `a server that complains of ${what}`,
        { there: alerting(alert), here: { credentials: presenting(client) }, reason: tls(problem), shut: true }
      ])
    )
  }
  for (const [what, { here, reason, shut, there }] of Object.entries(wrong)) {
    it.live(what, () =>
      leavesNothing(
        Effect.gen(function* () {
          const { calls, port } = yield* there
          const observer = yield* TlsServer.observe(port)
          const { cluster, echo, gauge } = yield* Client.make({
            endpoints: [observer.address],
            credentials: trusting,
            retry: Retry.make({ attempts: 3 }),
            connections: { max: 1 },
            ...here
          })
          const began = performance.now()
          const call = echo.echo(Client.request({ payload: Buffer.from(canary) }), { timeout: 4_000 })
          const error = yield* Client.failure(call)
          assert.isAtMost(performance.now() - began, 5_000)
          assert.deepStrictEqual(Client.connectReason(error) as object, reason)
          assert.strictEqual(error.progress, "NotSent")
          assert.isAtMost(error.attempts, 3)
          // What is sent again waits for the next dial or fails with the last one: it never dials by itself.
          assert.isAtMost(observer.accepted(), 2)
          assert.strictEqual(calls(), 0)
          assert.strictEqual(gauge.running, 0)
          assert.strictEqual(cluster.waitingUnsafe(), 0)
          assert.notInclude(observer.sent().toString("latin1"), canary)
          const records = observer.records()
          assert.isDefined(records, "something else than TLS was sent")
          if (shut === true) assert.notInclude(records, "Encrypted")
        })
      )
    )
  }

  it.live("plaintext to a server of TLS: no more than the greeting of HTTP/2 is sent", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { calls, port } = yield* real({ identity: server })
        const observer = yield* TlsServer.observe(port)
        const { echo } = yield* Client.make({ endpoints: [observer.address] })
        const call = echo.echo(Client.request({ payload: Buffer.from(canary) }), { timeout: 4_000 })
        const error = yield* Client.failure(call)
        assert.include(["Closed", "Reset"], Client.connectReason(error)?._tag)
        assert.strictEqual(error.progress, "NotSent")
        assert.strictEqual(calls(), 0)
        assert.isUndefined(observer.records())
        for (const one of framesOf(observer.sent())) assert.include([kind.settings, kind.goaway, kind.window], one)
      })
    )
  )
})

describe("TLS without a protocol in the handshake", () => {
  it.live("to a server that is silent then ends at the timeout of the dial, and no call is sent", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { calls, port } = yield* bare({})
        const { echo } = yield* Client.make({
          endpoints: [`127.0.0.1:${port}`],
          credentials: trusting,
          connections: { max: 1, connectTimeout: 300 }
        })
        const error = yield* Client.failure(echo.echo(Client.request({ payload: Buffer.from(canary) })))
        assert.strictEqual(Client.connectReason(error)?._tag, "TimedOut")
        assert.strictEqual(error.progress, "NotSent")
        assert.strictEqual(calls(), 0)
      })
    )
  )

  it.live("to a server that speaks HTTP/2 all the same works: grpc-js asks for h2 and does not insist", () =>
    leavesNothing(
      Effect.gen(function* () {
        const { port } = yield* TlsServer.bare({ cert: server.cert, key: server.key }, answering(good))
        const { echo } = yield* Client.make({ endpoints: [`127.0.0.1:${port}`], credentials: trusting })
        yield* Effect.orDie(echo.echo(Client.request()))
      })
    )
  )
})
