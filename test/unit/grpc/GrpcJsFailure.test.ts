import { assert, describe, it } from "@effect/vitest"
import { type Circumstances, connectError, requireHttp2 } from "@hawser/grpc/GrpcJsFailure"
import type { TLSSocket } from "node:tls"

const about: Circumstances = { security: "Tls", begun: true, ready: false }
const made = (message: string, fields: object = {}) => Object.assign(new Error(message), fields)
const alert = (number: number, reason?: string) =>
  made(`40CD:error:0A000410:SSL routines:ssl3_read_bytes:${reason}:rec_layer_s3.c:918:SSL alert number ${number}\n`, {
    code: "ERR_SSL_ANYTHING",
    ...(reason === undefined ? {} : { reason })
  })
const reasonOf = (error: unknown, more: Partial<Circumstances> = {}) =>
  connectError("here", error, { ...about, ...more }).reason as object

describe("an alert", () => {
  it.each([41, 42, 43, 44, 45, 46, 48, 49, 116])("%s is about the certificate of the client", (number) => {
    assert.deepInclude(reasonOf(alert(number)), { problem: "NoClientCertificate" })
    assert.deepInclude(reasonOf(alert(number), { security: "Mutual" }), { problem: "ClientCertificateRefused" })
  })

  it("40 is about it only when the server's part of the handshake had begun", () => {
    for (const security of ["Tls", "Mutual"] as const) {
      assert.deepInclude(reasonOf(alert(40), { security, begun: false }), { problem: "Incompatible" })
    }
    assert.deepInclude(reasonOf(alert(40)), { problem: "NoClientCertificate" })
    assert.deepInclude(reasonOf(alert(40), { security: "Mutual" }), { problem: "ClientCertificateRefused" })
  })

  it.each<readonly [number, string]>([
    [10, "Other"],
    [20, "Other"],
    [47, "Incompatible"],
    [51, "Other"],
    [70, "Incompatible"],
    [71, "Incompatible"],
    [80, "Other"],
    [86, "Incompatible"],
    [109, "Incompatible"],
    [110, "Incompatible"],
    [112, "WrongHost"],
    [120, "Alpn"],
    [255, "Other"]
  ])("%s is %s, whoever has a certificate", (number, problem) => {
    for (const security of ["Tls", "Mutual"] as const) {
      assert.deepInclude(reasonOf(alert(number), { security }), { problem })
    }
  })

  it.each([
    ["ssl/tls alert bad certificate", "bad certificate"],
    ["sslv3 alert bad certificate", "bad certificate"],
    ["tlsv1 alert unknown ca", "unknown ca"],
    ["tlsv1 unrecognized name", "unrecognized name"],
    ["tlsv13 alert certificate required", "certificate required"]
  ])("is named in the words of TLS in each version of OpenSSL: %s", (reason, text) => {
    assert.deepInclude(reasonOf(alert(42, reason)), { alert: text })
  })

  it("without words has its number", () => {
    assert.deepInclude(reasonOf(alert(42)), { alert: "alert 42" })
  })
})

describe("a failure of TLS", () => {
  it.each<readonly [string, string, string]>([
    ["CERT_HAS_EXPIRED", "certificate has expired", "Expired"],
    ["CERT_NOT_YET_VALID", "certificate is not yet valid", "NotYetValid"],
    ["SELF_SIGNED_CERT_IN_CHAIN", "self-signed", "UnknownIssuer"],
    ["INVALID_PURPOSE", "unsuitable certificate purpose", "WrongPurpose"],
    ["UNSPECIFIED", "EE certificate key too weak", "Weak"],
    ["UNSPECIFIED", "something else", "Other"],
    ["ERR_SSL_DH_KEY_TOO_SMALL", "dh key too small", "Weak"],
    ["ERR_SSL_UNSUPPORTED_PROTOCOL", "unsupported protocol", "Incompatible"],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "wrong version number", "NotTls"],
    ["CERT_REVOKED", "certificate revoked", "Other"],
    ["ERROR_IN_CERT_NOT_AFTER_FIELD", "format error", "Other"],
    ["ERR_SSL_BAD_SOMETHING", "bad", "Other"],
    ["EPROTO", "protocol error", "Other"]
  ])("%s, %s: %s", (code, message, problem) => {
    assert.deepStrictEqual(reasonOf(made(message, { code })), { _tag: "Tls", problem })
  })

  it("keeps the code and the first error", () => {
    const first = made("certificate has expired", { code: "CERT_HAS_EXPIRED" })
    const { cause } = connectError("here", first, about)
    assert.deepInclude(cause, { code: "CERT_HAS_EXPIRED" })
    assert.strictEqual((cause as Error).cause, first)
  })

  it("about a name says both, in few words whatever the certificate says", () => {
    const wrong = (cert: object) =>
      connectError("here", made("x", { code: "ERR_TLS_CERT_ALTNAME_INVALID", host: "a", cert }), about).message
    assert.include(wrong({ subjectaltname: "DNS:b" }), "the certificate is for DNS:b, and not for a; set `authority`")
    assert.include(wrong({ subject: { CN: "c" } }), "is for CN:c, and")
    assert.include(wrong({}), "is for no host, and")
    assert.isBelow(wrong({ subjectaltname: "x".repeat(100_000) }).length, 600)
  })
})

describe("a socket without HTTP/2", () => {
  it.each<readonly [string | false | null, string]>([
    [false, "no protocol"],
    [null, "no protocol"],
    ["http/1.1", "http/1.1"]
  ])("is refused by name: %s", (alpnProtocol, chosen) => {
    try {
      requireHttp2({ alpnProtocol } as TLSSocket)
    } catch (error) {
      assert.deepStrictEqual(reasonOf(error), { _tag: "Tls", problem: "Alpn" })
      return assert.include(connectError("here", error, about).message, `the server chose ${chosen} instead of h2; `)
    }
    assert.fail("it was taken")
  })

  it("is none that has it", () => {
    requireHttp2({ alpnProtocol: "h2" } as TLSSocket)
  })
})

describe("a failure of the network", () => {
  it.each<readonly [unknown, string]>([
    [undefined, "Closed"],
    [made("connect", { code: "ECONNREFUSED" }), "Refused"],
    [made("read", { code: "ECONNRESET" }), "Reset"],
    [made("write", { code: "EPIPE" }), "Reset"],
    [made("frames", { code: "ERR_HTTP2_ERROR" }), "Reset"],
    [made("dropped"), "Reset"],
    ["no error at all", "Reset"]
  ])("%s: %s", (error, tag) => {
    assert.deepStrictEqual(reasonOf(error), { _tag: tag })
  })

  it("says what a server may have meant that hung up before its first word", () => {
    const says = (error: unknown, more: Partial<Circumstances>) =>
      connectError("here", error, { ...about, ...more }).message
    for (const error of [undefined, made("read ECONNRESET", { code: "ECONNRESET" })]) {
      assert.match(says(error, { security: "Plaintext" }), /as servers of TLS do; these credentials are plaintext$/)
      assert.match(says(error, { security: "Mutual" }), /as some servers do that refuse the certificate of a client$/)
      assert.match(says(error, {}), /hung up before its first word of HTTP\/2$/)
      assert.notMatch(says(error, { ready: true }), /first word/)
    }
    assert.notMatch(says(made("connect", { code: "ECONNREFUSED" }), {}), /first word/)
  })
})
