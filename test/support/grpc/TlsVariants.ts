import { createPrivateKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from "node:crypto"
import type { Identity } from "./TlsCertificates.ts"

/** How a certificate is to differ from what most are. */
export interface Variant {
  /** Extensions in DER; left out: those that it has. */
  readonly extensions?: ReadonlyArray<Buffer>
  /** A key of RSA with so many bits. */
  readonly rsa?: number
  /** Signed by SHA-1. */
  readonly sha1?: boolean
}

const tlv = (tag: number, ...parts: ReadonlyArray<Uint8Array>): Buffer => {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const oid = (hex: string) => tlv(0x06, Buffer.from(hex, "hex"))

/** The values inside a value of DER, each with its tag and length. */
const inside = (der: Buffer): ReadonlyArray<Buffer> => {
  const end = (at: number): readonly [content: number, end: number] => {
    const short = der[at + 1]!
    if (short < 128) return [at + 2, at + 2 + short]
    const content = at + 2 + (short & 0x7f)
    return [content, content + der.readUIntBE(at + 2, short & 0x7f)]
  }
  const out: Array<Buffer> = []
  for (let at = end(0)[0]; at < der.length; at = end(at)[1]) out.push(der.subarray(at, end(at)[1]))
  return out
}

/** That it is for clients only. */
export const forClients = tlv(0x30, oid("551d25"), tlv(0x04, tlv(0x30, oid("2b06010505070302"))))

/** That it is for one address of IPv6: `::1`. */
export const forLoopback6 = tlv(
  0x30,
  oid("551d11"),
  tlv(0x04, tlv(0x30, tlv(0x87, Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]))))
)

/** The same certificate in another variant, signed anew. */
export const vary = (identity: Identity, issuer: Identity, { extensions, rsa, sha1 = false }: Variant): Identity => {
  const [body] = inside(new X509Certificate(identity.cert).raw)
  const fields = [...inside(body!)]
  let key: KeyObject = createPrivateKey(identity.key)
  if (rsa !== undefined) {
    const pair = generateKeyPairSync("rsa", { modulusLength: rsa })
    key = pair.privateKey
    fields[6] = pair.publicKey.export({ type: "spki", format: "der" })
  }
  // ECDSA with SHA-1, or with SHA-256.
  const algorithm = tlv(0x30, oid(sha1 ? "2a8648ce3d0401" : "2a8648ce3d040302"))
  fields[2] = algorithm
  if (extensions !== undefined) {
    fields.splice(7, 1, ...(extensions.length === 0 ? [] : [tlv(0xa3, tlv(0x30, ...extensions))]))
  }
  const signed = tlv(0x30, ...fields)
  const signature = sign(sha1 ? "sha1" : "sha256", signed, createPrivateKey(issuer.key))
  const cert = new X509Certificate(tlv(0x30, signed, algorithm, tlv(0x03, Buffer.from([0]), signature)))
  return { cert: cert.toString(), key: key.export({ type: "pkcs8", format: "pem" }) as string }
}
