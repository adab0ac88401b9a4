import { assert, describe, it } from "@effect/vitest"
import { Credentials } from "@hawser/grpc"
import { Effect, Redacted } from "effect"
import { inspect } from "node:util"
import { cert, encryptedKey, key, otherKey } from "../../support/pem.ts"

const paths = (options: Credentials.TlsOptions) =>
  Credentials.issues(Credentials.tls(options)).map(({ path, rule }) => `${path}: ${rule}`)

describe("Credentials", () => {
  it("says which are plaintext", () => {
    assert.isTrue(Credentials.isInsecure(Credentials.insecure))
    assert.isFalse(Credentials.isInsecure(Credentials.tls()))
    assert.isTrue(Credentials.isCredentials(Credentials.insecure))
    assert.isTrue(Credentials.isCredentials(Credentials.tls()))
    assert.isFalse(Credentials.isCredentials({ _tag: "Insecure" }))
  })

  it.each<readonly [string, Credentials.TlsOptions]>([
    ["nothing", {}],
    ["a CA", { ca: cert }],
    ["several CAs", { ca: cert + cert }],
    ["a CA as bytes", { ca: Buffer.from(cert) }],
    ["a certificate and its key", { cert, key }],
    ["a redacted key", { cert, key: Redacted.make(key) }],
    ["bytes", { cert: Buffer.from(cert), key: Redacted.make(new TextEncoder().encode(key)) }],
    ["a name", { serverName: "greeter.internal" }]
  ])("takes %s", (_, options) => {
    assert.deepStrictEqual(paths(options), [])
  })

  it("says which have a certificate to show", () => {
    assert.isTrue(Credentials.isMutual(Credentials.tls({ cert, key })))
    assert.isFalse(Credentials.isMutual(Credentials.tls({ ca: cert })))
    assert.isFalse(Credentials.isMutual(Credentials.insecure))
  })

  const isPem = "PEM with at least one certificate"
  it.each<readonly [string, object, ReadonlyArray<string>]>([
    ["a CA that is no PEM, which Node ignores", { ca: "garbage" }, [`credentials.ca: ${isPem}`]],
    [
      "a CA of which the second certificate is damaged",
      { ca: cert + cert.replace("MII", "XXX") },
      [`credentials.ca: ${isPem}`]
    ],
    ["an empty CA", { ca: "" }, [`credentials.ca: ${isPem}`]],
    ["a CA that is damaged", { ca: cert.replace("MII", "XXX") }, [`credentials.ca: ${isPem}`]],
    ["a CA of another type", { ca: 5 }, [`credentials.ca: ${isPem}`]],
    ["a key in the place of a CA", { ca: key }, [`credentials.ca: ${isPem}`]],
    ["a certificate alone", { cert }, ["credentials.key: the private key of `cert`"]],
    ["a key alone", { key }, ["credentials.cert: the certificate of `key`"]],
    ["the key of another certificate", { cert, key: otherKey }, ["credentials.key: the private key of `cert`"]],
    ["a key that is no PEM", { cert, key: "x" }, ["credentials.key: PEM of a private key without a passphrase"]],
    [
      "a key with a passphrase",
      { cert, key: encryptedKey },
      ["credentials.key: PEM of a private key without a passphrase"]
    ],
    ["a name that is a URL", { serverName: "https://greeter" }, ["credentials.serverName: a host name"]],
    [
      "an option that does not exist",
      { passphrase: "x" },
      ["credentials.passphrase: one of ca, cert, key, serverName"]
    ],
    [
      "everything at once",
      { ca: "x", cert: "x", key: "x", serverName: "" },
      [
        `credentials.ca: ${isPem}`,
        `credentials.cert: ${isPem}`,
        "credentials.key: PEM of a private key without a passphrase",
        "credentials.serverName: a host name"
      ]
    ]
  ])("refuses %s", (_, options, expected) => {
    assert.deepStrictEqual(paths(options as Credentials.TlsOptions), expected)
  })

  it("shows no secret, neither in itself nor in its issues", () => {
    const line = key.split("\n")[1]!
    for (const credentials of [Credentials.tls({ cert, key }), Credentials.tls({ cert, key: Redacted.make(key) })]) {
      for (const text of [
        String(credentials),
        inspect(credentials, { depth: 9, showHidden: true }),
        inspect(credentials, { depth: 9, showHidden: true, customInspect: false }),
        JSON.stringify({ credentials }),
        JSON.stringify({ ...credentials })
      ]) {
        assert.notInclude(text, line)
      }
    }
    const issues = Credentials.issues(Credentials.tls({ key, cert: key, ca: key }))
    assert.notInclude(JSON.stringify(issues), line)
  })

  it.effect("become those of grpc-js", () =>
    Effect.gen(function* () {
      const plain = yield* Credentials.toGrpcJs(Credentials.insecure)
      assert.isFalse(plain.credentials._isSecure())
      assert.deepStrictEqual(plain.channelOptions, {})
      const mutual = yield* Credentials.toGrpcJs(Credentials.tls({ ca: cert, cert, key, serverName: "greeter" }))
      assert.isTrue(mutual.credentials._isSecure())
      assert.deepStrictEqual(mutual.channelOptions, { "grpc.ssl_target_name_override": "greeter" })
      assert.isTrue((yield* Credentials.toGrpcJs(Credentials.tls())).credentials._isSecure())
    })
  )

  it.effect("fail with all their issues instead of throwing", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Credentials.toGrpcJs(Credentials.tls({ ca: "x", cert })))
      assert.strictEqual(error._tag, "OptionsError")
      assert.deepStrictEqual(
        error.issues.map(({ path }) => path),
        ["credentials.ca", "credentials.key"]
      )
    })
  )
})
