import { assert, describe, it } from "@effect/vitest"
import { Endpoint } from "@hawser/core"
import { Grpc, Retry } from "@hawser/grpc"
import * as Credentials from "@hawser/grpc/Credentials"
import * as GrpcJs from "@hawser/grpc/GrpcJs"
import { Deferred, Effect, Layer, type Scope, Stream } from "effect"
import type * as tls from "node:tls"
import * as Client from "../support/grpc/client.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { leavesNothing } from "../support/grpc/eventually.ts"
import { answering, good, kind, settings, talking } from "../support/grpc/PeersWire.ts"
import { untilEnded } from "../support/grpc/sessionEnd.ts"
import * as TcpServer from "../support/grpc/TcpServer.ts"
import { complaining } from "../support/grpc/TlsAlerts.ts"
import * as Certificates from "../support/grpc/TlsCertificates.ts"
import * as TlsServer from "../support/grpc/TlsServer.ts"
import { forClients, forLoopback6, vary } from "../support/grpc/TlsVariants.ts"

/** Node warns of some things only once: so from the start. */
const warnings: Array<string> = []
process.on("warning", (warning: NodeJS.ErrnoException) => warnings.push(`${warning.code}: ${warning.message}`))

const authority = Certificates.make({ name: "good authority", ca: true })
const stranger = Certificates.make({ name: "another authority", ca: true })
const server = Certificates.make({ name: "server", issuer: authority })
const client = Certificates.make({ name: "client", issuer: authority })

const intermediate = Certificates.make({ name: "intermediate", issuer: authority, ca: true })

/** A server whose chain goes through another authority. */
const chained = (through: Certificates.Identity & { readonly name: string }): Certificates.Identity => {
  const { cert, key } = Certificates.make({ name: "server", issuer: through })
  return { cert: cert + through.cert, key }
}

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
      "with a wildcard for the name",
      { identity: Certificates.make({ name: "server", issuer: authority, hosts: ["*.svc.example"] }) },
      { authority: "a.svc.example:443", credentials: trusting },
      "a.svc.example:443"
    ],
    [
      "with an intermediate authority, whose certificate the server sends",
      { identity: chained(intermediate) },
      { credentials: trusting },
      "127.0.0.1:"
    ],
    [
      "with a common name and no other names, as Node has it",
      {
        identity: vary(Certificates.make({ name: "outer.example", issuer: authority }), authority, { extensions: [] })
      },
      { authority: "outer.example:443", credentials: trusting },
      "outer.example:443"
    ],
    [
      "with an address of IPv6 as the authority",
      { identity: vary(server, authority, { extensions: [forLoopback6] }) },
      { authority: "[::1]:443", credentials: trusting },
      "[::1]:443"
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
/** A server that counts every byte inside TLS as a call. */
const bare = (options: tls.TlsOptions): Peer =>
  Effect.map(TlsServer.bare({ cert: server.cert, key: server.key, ...options }), ({ decrypted, port }) => ({
    port,
    calls: () => decrypted().length
  }))
const weak = (identity: Certificates.Identity): Peer =>
  bare({ ...identity, ciphers: "DEFAULT@SECLEVEL=0", ALPNProtocols: ["h2"] })
const raw = (manners: TcpServer.Manners): Peer =>
  Effect.map(TcpServer.make(manners), ({ port }) => ({ port, calls: () => 0 }))

/** The kinds of HTTP/2 frames after the greeting of a client. */
const framesOf = (bytes: Buffer): ReadonlyArray<number> => {
  const kinds: Array<number> = []
  for (let at = 24; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) kinds.push(bytes[at + 3]!)
  return kinds
}

describe("TLS that is set up wrong fails closed", () => {
  const tls = (problem: string, alert?: string) => ({ _tag: "Tls", problem, ...(alert === undefined ? {} : { alert }) })
  interface Wrong {
    readonly there: Peer
    readonly here?: Client.ClientOptions
    readonly reason: object
    /** That the client never gets as far as to encrypt anything. */
    readonly shut?: boolean
    /** What the error tells whoever reads it. */
    readonly says?: RegExp
  }
  const mutual = { credentials: presenting(client) }
  const strange = { credentials: presenting(Certificates.make({ name: "client", issuer: stranger })) }
  const expired = Certificates.make({ name: "client", issuer: authority, from: -2, to: -1 })
  /** What servers say before their part of the handshake. */
  const alerts: ReadonlyArray<readonly [alert: number, text: string, problem: string]> = [
    [10, "unexpected message", "Other"],
    [40, "handshake failure", "Incompatible"],
    [42, "bad certificate", "ClientCertificateRefused"],
    [70, "protocol version", "Incompatible"],
    [80, "internal error", "Other"],
    [112, "unrecognized name", "WrongHost"],
    [120, "no application protocol", "Alpn"]
  ]
  /** What they say to the certificate of a client. */
  const complaints: ReadonlyArray<readonly [alert: number, text: string]> = [
    [40, "handshake failure"],
    [42, "bad certificate"],
    [45, "certificate expired"],
    [48, "unknown ca"],
    [116, "certificate required"]
  ]
  const versions = ["TLSv1.2", "TLSv1.3"] as const
  const wrong: Record<string, Wrong> = {
    "a certificate that has expired": {
      there: showing({ from: -2, to: -1 }),
      reason: tls("Expired"),
      shut: true,
      says: /certificate has expired; renew the server's certificate/
    },
    "a certificate of tomorrow": {
      there: showing({ from: 1, to: 2 }),
      reason: tls("NotYetValid"),
      shut: true,
      says: /not yet valid; compare the clocks/
    },
    "an issuer that nobody knows": {
      there: showing({ issuer: stranger }),
      reason: tls("UnknownIssuer"),
      shut: true,
      says: /give the certificate of the server's authority as `ca`/
    },
    "an issuer of the same name with another key": {
      there: showing({ issuer: Certificates.make({ name: "good authority", ca: true }) }),
      reason: tls("UnknownIssuer"),
      shut: true
    },
    "an issuer that may not sign": {
      there: real({ identity: chained(client) }),
      reason: tls("WrongPurpose"),
      shut: true
    },
    "a certificate that signs itself": {
      there: real({ identity: Certificates.make({ name: "server" }) }),
      reason: tls("UnknownIssuer"),
      shut: true
    },
    "an intermediate authority that has expired": {
      there: real({
        identity: chained(Certificates.make({ name: "past", issuer: authority, ca: true, from: -2, to: -1 }))
      }),
      reason: tls("Expired"),
      shut: true
    },
    "an intermediate authority whose certificate the server does not send": {
      there: showing({ issuer: intermediate }),
      reason: tls("UnknownIssuer"),
      shut: true,
      says: /let the server send its whole chain/
    },
    "a certificate for clients only": {
      there: real({ identity: vary(server, authority, { extensions: [forClients] }) }),
      reason: tls("WrongPurpose"),
      shut: true,
      says: /serverAuth/
    },
    "a key of RSA with 1024 bits": {
      there: weak(vary(server, authority, { rsa: 1024 })),
      reason: tls("Weak"),
      shut: true
    },
    "a signature by SHA-1": { there: weak(vary(server, authority, { sha1: true })), reason: tls("Weak"), shut: true },
    "the name of another host": {
      there: showing({ hosts: ["other.example"] }),
      reason: tls("WrongHost"),
      shut: true,
      says: /the certificate is for DNS:other\.example, and not for 127\.0\.0\.1; set `authority`/
    },
    "another address": {
      there: showing({ hosts: ["127.0.0.2", "localhost"] }),
      reason: tls("WrongHost"),
      shut: true,
      says: /for IP Address:127\.0\.0\.2, DNS:localhost, and not for 127\.0\.0\.1/
    },
    "a common name that is the address": {
      there: real({
        identity: vary(Certificates.make({ name: "127.0.0.1", issuer: authority }), authority, { extensions: [] })
      }),
      reason: tls("WrongHost"),
      shut: true,
      says: /for CN:127\.0\.0\.1, and not for/
    },
    "a common name of another host": {
      there: real({ identity: vary(server, authority, { extensions: [] }) }),
      here: { authority: "outer.example" },
      reason: tls("WrongHost"),
      shut: true,
      says: /for CN:server, and not for outer\.example/
    },
    "a thousand names of others": {
      there: showing({ hosts: Array.from({ length: 1_000 }, (_, i) => `n${i}.example`) }),
      reason: tls("WrongHost"),
      shut: true,
      says: /^.{1,600}$/s
    },
    "a wildcard, two names below it": {
      there: showing({ hosts: ["*.svc.example"] }),
      here: { authority: "a.b.svc.example" },
      reason: tls("WrongHost"),
      shut: true
    },
    "a wildcard for the name without a dot": {
      there: showing({ hosts: ["*.svc.example"] }),
      here: { authority: "svc.example" },
      reason: tls("WrongHost"),
      shut: true
    },
    "no certificate of the client": {
      there: demanding,
      reason: tls("NoClientCertificate", "certificate required"),
      says: /the server says "certificate required"; give the certificate and the key of this client/
    },
    "no certificate of the client, over TLS 1.2": {
      there: bare({ ca: authority.cert, requestCert: true, maxVersion: "TLSv1.2", ALPNProtocols: ["h2"] }),
      reason: tls("NoClientCertificate", "handshake failure")
    },
    // Node hangs up without an alert; others say why, see below.
    "a certificate of the client that is refused without a word": {
      there: demanding,
      here: strange,
      reason: { _tag: "Closed" },
      says: /hung up .* as some servers do that refuse the certificate of a client/
    },
    "a certificate of the client that has expired, and is refused without a word": {
      there: demanding,
      here: { credentials: presenting(expired) },
      reason: { _tag: "Closed" },
      says: /refuse the certificate of a client/
    },
    "a certificate of the client that is refused without a word, over TLS 1.2": {
      there: bare({ ca: authority.cert, requestCert: true, maxVersion: "TLSv1.2", ALPNProtocols: ["h2"] }),
      here: strange,
      reason: { _tag: "Reset" },
      says: /refuse the certificate of a client/
    },
    "a server that speaks plaintext": {
      there: Effect.map(EchoServer.make(), (server) => ({ port: server.port, calls: () => server.calls.length })),
      reason: tls("NotTls"),
      shut: true,
      says: /the server does not speak TLS; secure the server's port, or use Credentials\.insecure/
    },
    "a server that greets in plaintext": { there: raw(talking({})), reason: tls("NotTls"), shut: true },
    "a server that answers in HTTP/1.1": { there: raw(TcpServer.babbling), reason: tls("NotTls"), shut: true },
    "a server that offers only HTTP/1.1": {
      there: bare({ ALPNProtocols: ["http/1.1"] }),
      reason: tls("Alpn", "no application protocol"),
      shut: true,
      says: /h2 by ALPN/
    },
    "a server that offers only something else": {
      there: bare({ ALPNProtocols: ["spdy/3", "h2c"] }),
      reason: tls("Alpn", "no application protocol"),
      shut: true
    },
    "a server that knows no ALPN": {
      there: bare({}),
      reason: tls("Alpn"),
      says: /the server chose no protocol instead of h2/
    },
    "a server that knows no ALPN, over TLS 1.2": { there: bare({ maxVersion: "TLSv1.2" }), reason: tls("Alpn") },
    "a server of TLS 1.1": {
      there: bare({ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }),
      reason: tls("Incompatible", "protocol version"),
      shut: true
    },
    "a server with another cipher": {
      there: bare({ maxVersion: "TLSv1.2", ciphers: "AES128-SHA" }),
      reason: tls("Incompatible", "handshake failure"),
      shut: true
    },
    ...Object.fromEntries(
      alerts.map(([alert, text, problem]): [string, Wrong] => [
        `a server that begins with "${text}"`,
        { there: raw(TlsServer.alerting(alert)), here: mutual, reason: tls(problem, text), shut: true }
      ])
    ),
    ...Object.fromEntries(
      versions.flatMap((version) =>
        complaints.flatMap(([alert, text]): ReadonlyArray<[string, Wrong]> => {
          const there = raw(complaining({ identity: server, version, alert }))
          return [
            [
              `a certificate of the client that is refused with "${text}" over ${version}`,
              { there, here: mutual, reason: tls("ClientCertificateRefused", text) }
            ],
            [
              `no certificate of the client, which is refused with "${text}" over ${version}`,
              { there, reason: tls("NoClientCertificate", text) }
            ]
          ]
        })
      )
    )
  }
  for (const [what, { here, reason, says, shut, there }] of Object.entries(wrong)) {
    it.live(what, () =>
      leavesNothing(
        Effect.gen(function* () {
          const { calls, port } = yield* there
          const observer = yield* TlsServer.observe(port)
          const { cluster, echo, gauge } = yield* Client.make({
            endpoints: [observer.address],
            credentials: trusting,
            retry: Retry.make({ maxAttempts: 3 }),
            connections: { max: 1 },
            ...here
          })
          const began = performance.now()
          const call = echo.echo(Client.request({ payload: Buffer.from(canary) }), { timeout: 4_000 })
          const error = yield* Client.failure(call)
          assert.isAtMost(performance.now() - began, 5_000)
          assert.deepStrictEqual(Client.connectReason(error) as object, reason)
          if (says !== undefined) assert.match(error.message, says)
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
        assert.match(error.message, /hung up .* as servers of TLS do; these credentials are plaintext/)
        assert.strictEqual(error.progress, "NotSent")
        assert.strictEqual(calls(), 0)
        assert.isUndefined(observer.records())
        for (const one of framesOf(observer.sent())) assert.include([kind.settings, kind.goaway, kind.window], one)
      })
    )
  )
})

describe("TLS in the adapter", () => {
  const transport = { authority: "localhost", maxReceiveBytes: 4_194_304, userAgent: "test" }
  const dial = (port: number, credentials: Credentials.Credentials) =>
    Effect.flatMap(Effect.orDie(GrpcJs.make().connector({ ...transport, credentials })), (connector) =>
      connector(Endpoint.makeUnsafe({ addresses: [`127.0.0.1:${port}`] }))
    )

  for (const early of [true, false]) {
    it.live(`says why when a server greets before it refuses a certificate, ${early ? "at once" : "and later"}`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const complain = yield* Deferred.make<() => void>()
          const { port } = yield* raw(
            complaining({
              identity: server,
              version: "TLSv1.3",
              alert: 48,
              greeting: settings(),
              ...(early ? {} : { later: (now: () => void) => Deferred.doneUnsafe(complain, Effect.succeed(now)) })
            })
          )
          const error = yield* Effect.gen(function* () {
            const session = yield* dial(port, presenting(client))
            if (!early) (yield* Deferred.await(complain))()
            return yield* Effect.flatMap(untilEnded(session), Effect.fail)
          }).pipe(Effect.flip)
          assert.deepStrictEqual(error.reason, {
            _tag: "Tls",
            problem: "ClientCertificateRefused",
            alert: "unknown ca"
          })
        })
      )
    )
  }

  const names: ReadonlyArray<readonly [string, string, string | false]> = [
    ["a name", "outer.example:443", "outer.example"],
    ["an address", "127.0.0.1:443", false],
    ["an address of IPv6", "[::1]:443", false]
  ]
  for (const [what, named, asked] of names) {
    it.live(`asks a server by name only where there is one: ${what}`, () =>
      leavesNothing(
        Effect.gen(function* () {
          const seen: Array<string | false> = []
          const identity =
            named === "[::1]:443"
              ? vary(server, authority, { extensions: [forLoopback6] })
              : Certificates.make({ name: "server", issuer: authority, hosts: ["outer.example", "127.0.0.1"] })
          const { port } = yield* TlsServer.bare({ ...identity, ALPNProtocols: ["h2"] }, (socket) => {
            seen.push((socket as tls.TLSSocket).servername ?? false)
            answering(good)(socket)
          })
          const { echo } = yield* Client.make({
            endpoints: [`127.0.0.1:${port}`],
            authority: named,
            credentials: trusting
          })
          yield* Effect.orDie(echo.echo(Client.request()))
          assert.deepStrictEqual(seen, [asked])
        })
      )
    )
  }

  it("makes Node warn of nothing", () => {
    assert.deepStrictEqual(warnings, [])
  })

  it.live("opens no socket with PEM that is none", () =>
    leavesNothing(
      Effect.gen(function* () {
        const there = yield* TcpServer.make(TcpServer.silent)
        const garbage = "-----BEGIN CERTIFICATE-----\nZ2FyYmFnZQ==\n-----END CERTIFICATE-----\n"
        for (const options of [
          { ca: garbage },
          { ca: authority.cert + garbage },
          { cert: garbage, key: client.key },
          { cert: client.cert, key: garbage }
        ]) {
          const layer = Grpc.layer({ target: `ipv4:${there.address}`, credentials: Credentials.tls(options) })
          const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
          assert.strictEqual(error._tag, "OptionsError")
        }
        assert.strictEqual(there.accepted, 0)
      })
    )
  )
})
