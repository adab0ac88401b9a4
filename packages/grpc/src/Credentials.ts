/**
 * How connections are secured: TLS, or plaintext by an explicit word.
 *
 * Key material is held redacted: neither printing nor serialising credentials shows a secret. Nothing is read or checked
 * when a value is made; `Grpc.layer` checks it before any socket opens.
 */
import * as grpc from "@grpc/grpc-js"
import type { OptionsIssue } from "@hawser/core/OptionsError"
import { OptionsError } from "@hawser/core/OptionsError"
import * as Effect from "effect/Effect"
import { hasProperty } from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { KeyObject } from "node:crypto"
import { createPrivateKey, X509Certificate } from "node:crypto"

const TypeId = "~hawser/Credentials"

/** A PEM text, or its bytes. */
export type Pem = string | Uint8Array

/** What `tls` takes. */
export interface TlsOptions {
  /** Certificates that sign servers. Default: the roots that Node ships, or `NODE_EXTRA_CA_CERTS` beside them. */
  readonly ca?: Pem | undefined
  /** The certificate of this client, with its chain. Needs `key`. */
  readonly cert?: Pem | undefined
  /** The private key of `cert`, without a passphrase. */
  readonly key?: Pem | Redacted.Redacted<Pem> | undefined
  /**
   * The name that the server's certificate must carry, among its alternative names or, where it has none of these, as
   * its common name. Default: the target's authority. An address must be among the certificate's addresses.
   */
  readonly serverName?: string | undefined
}

/** TLS, or plaintext. */
export interface Credentials {
  readonly [TypeId]: typeof TypeId
  readonly _tag: "Tls" | "Insecure"
}

class Tls implements Credentials {
  readonly _tag = "Tls"
  readonly options: Redacted.Redacted<TlsOptions>
  constructor(options: TlsOptions) {
    this.options = Redacted.make(options, { label: "TlsOptions" })
  }
  get [TypeId](): typeof TypeId {
    return TypeId
  }
  toJSON(): unknown {
    const { ca, cert, key, serverName } = Redacted.value(this.options)
    const secret = (value: unknown) => (value === undefined ? undefined : "<redacted>")
    return { _tag: "Tls", ca: secret(ca), cert: secret(cert), key: secret(key), serverName }
  }
  toString(): string {
    return `Credentials ${JSON.stringify(this)}`
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString()
  }
}

/**
 * TLS. With no options: the well-known roots, and the name in the target.
 *
 * ```ts import.meta.vitest
 * import { Credentials } from "@hawser/grpc"
 *
 * const credentials = Credentials.tls({ cert: "-----BEGIN…", key: "-----BEGIN…", serverName: "greeter" })
 * String(credentials) // => 'Credentials {"_tag":"Tls","cert":"<redacted>","key":"<redacted>","serverName":"greeter"}'
 * Credentials.isInsecure(credentials) // => false
 * ```
 */
export const tls = (options: TlsOptions = {}): Credentials => new Tls(options)

/**
 * Plaintext: everybody on the path reads and changes what is sent.
 *
 * **When to use**: on one machine, in tests, or below a sidecar that encrypts.
 *
 * ```ts import.meta.vitest
 * import { Credentials } from "@hawser/grpc"
 *
 * Credentials.isCredentials(Credentials.insecure) // => true
 * Credentials.isInsecure(Credentials.insecure) // => true
 * // What a server that wants certificates of its clients will refuse.
 * Credentials.isMutual(Credentials.tls({ ca: "-----BEGIN…" })) // => false
 * ```
 */
export const insecure: Credentials = { [TypeId]: TypeId, _tag: "Insecure" }

/** Whether a value is credentials. */
export const isCredentials = (u: unknown): u is Credentials => hasProperty(u, TypeId)

/** Whether they are plaintext. */
export const isInsecure = (self: Credentials): boolean => self._tag === "Insecure"

/** Whether they have a certificate to show to a server that asks for one. */
export const isMutual = (self: Credentials): boolean =>
  self instanceof Tls && Redacted.value(self.options).cert !== undefined

const certificates = (pem: Pem): ReadonlyArray<X509Certificate> =>
  Array.from(
    textOf(pem).matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g),
    ([block]) => new X509Certificate(block)
  )

const textOf = (pem: Pem): string => (typeof pem === "string" ? pem : Buffer.from(pem).toString("latin1"))
const attempt = <A>(f: () => A): A | undefined => {
  try {
    return f()
  } catch {
    return undefined
  }
}
const isPem = (u: unknown): u is Pem => typeof u === "string" || u instanceof Uint8Array
const known: ReadonlySet<string> = new Set(["ca", "cert", "key", "serverName"])
const keyOf = ({ key }: TlsOptions): unknown => (Redacted.isRedacted(key) ? Redacted.value(key) : key)

/**
 * What must be mended before these credentials can be used, with paths below `credentials`. Values are never named.
 *
 * **Details**: Node takes a `ca` without a certificate in it, and a key without a certificate, without a word.
 *
 * ```ts import.meta.vitest
 * import { Credentials } from "@hawser/grpc"
 *
 * const [issue] = Credentials.issues(Credentials.tls({ ca: "/etc/ssl/ca.pem" }))
 * issue // => { path: "credentials.ca", rule: "PEM with at least one certificate", value: "string" }
 * ```
 */
export const issues = (self: Credentials): ReadonlyArray<OptionsIssue> => {
  if (!(self instanceof Tls)) return []
  const options = Redacted.value(self.options)
  const out: Array<OptionsIssue> = []
  const fail = (path: string, rule: string, value: string) => out.push({ path: `credentials.${path}`, rule, value })
  for (const name of Object.keys(options)) if (!known.has(name)) fail(name, "one of ca, cert, key, serverName", name)
  const chain = (path: "ca" | "cert"): X509Certificate | undefined => {
    const pem = options[path]
    if (pem === undefined) return undefined
    const found = isPem(pem) ? attempt(() => certificates(pem)) : undefined
    if (found === undefined || found.length === 0) fail(path, "PEM with at least one certificate", typeof pem)
    return found?.[0]
  }
  chain("ca")
  const certificate = chain("cert")
  const pem = keyOf(options)
  let key: KeyObject | undefined
  if (pem !== undefined) {
    key = isPem(pem) ? attempt(() => createPrivateKey(textOf(pem))) : undefined
    if (key === undefined) fail("key", "PEM of a private key without a passphrase", "<redacted>")
    if (options.cert === undefined) fail("cert", "the certificate of `key`", "undefined")
  } else if (options.cert !== undefined) {
    fail("key", "the private key of `cert`", "undefined")
  }
  if (certificate !== undefined && key !== undefined && !certificate.checkPrivateKey(key)) {
    fail("key", "the private key of `cert`", "the key of another certificate")
  }
  const { serverName } = options
  if (serverName !== undefined && (typeof serverName !== "string" || !/^[\w.-]+$/.test(serverName))) {
    fail("serverName", "a host name", typeof serverName)
  }
  return out
}

/** What grpc-js is given. */
export interface GrpcJsCredentials {
  readonly credentials: grpc.ChannelCredentials
  readonly channelOptions: grpc.ChannelOptions
}

/**
 * Converts them for grpc-js; for the adapter. Fails with every issue.
 *
 * ```ts import.meta.vitest
 * import { Credentials } from "@hawser/grpc"
 * import { Effect } from "effect"
 *
 * const made = Effect.runSync(Credentials.toGrpcJs(Credentials.tls({ serverName: "greeter.internal" })))
 * made.channelOptions // => { "grpc.ssl_target_name_override": "greeter.internal" }
 * ```
 */
export const toGrpcJs = (self: Credentials): Effect.Effect<GrpcJsCredentials, OptionsError> =>
  Effect.suspend(() => {
    const found = issues(self)
    if (found.length > 0) return Effect.fail(new OptionsError({ issues: found }))
    if (!(self instanceof Tls)) {
      return Effect.succeed({ credentials: grpc.credentials.createInsecure(), channelOptions: {} })
    }
    const options = Redacted.value(self.options)
    const { ca, cert, serverName } = options
    const buffer = (pem: unknown) => (isPem(pem) ? Buffer.from(textOf(pem), "latin1") : null)
    return Effect.map(
      Effect.try({
        try: () => grpc.credentials.createSsl(buffer(ca), buffer(keyOf(options)), buffer(cert)),
        // What OpenSSL refuses although it parses, such as a key that is too short.
        catch: (error) =>
          new OptionsError({
            issues: [{ path: "credentials", rule: "what OpenSSL accepts", value: (error as Error).message }]
          })
      }),
      (credentials) => ({
        credentials,
        channelOptions: serverName === undefined ? {} : { "grpc.ssl_target_name_override": serverName }
      })
    )
  })
