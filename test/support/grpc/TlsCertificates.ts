import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto"

/** A certificate and its private key, as PEM. */
export interface Identity {
  readonly cert: string
  readonly key: string
}

/** What a certificate is to say. Made for localhost and 127.0.0.1, and valid for a day around now, unless it says so. */
export interface Request {
  readonly name: string
  /** Who signs; left out: it signs itself. */
  readonly issuer?: Identity & { readonly name: string }
  /** Whether it may sign others. */
  readonly ca?: boolean
  readonly hosts?: ReadonlyArray<string>
  /** Hours from now. */
  readonly from?: number
  readonly to?: number
}

const tlv = (tag: number, ...parts: ReadonlyArray<Uint8Array>): Buffer => {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const sequence = (...parts: ReadonlyArray<Uint8Array>) => tlv(0x30, ...parts)
const integer = (...bytes: ReadonlyArray<number>) => tlv(0x02, Buffer.from(bytes))
const octets = (bytes: Uint8Array) => tlv(0x04, bytes)
const bits = (bytes: Uint8Array) => tlv(0x03, Buffer.from([0]), bytes)
const yes = tlv(0x01, Buffer.from([0xff]))
const oid = (hex: string) => tlv(0x06, Buffer.from(hex, "hex"))

const commonName = "550403"
const basicConstraints = "551d13"
const alternativeNames = "551d11"
const ecdsaWithSha256 = sequence(oid("2a8648ce3d040302"))

const name = (text: string) => sequence(tlv(0x31, sequence(oid(commonName), tlv(0x0c, Buffer.from(text)))))
const time = (hours: number) => {
  const digits = new Date(Date.now() + hours * 3_600_000).toISOString().replace(/\D/g, "").slice(0, 14)
  return tlv(0x18, Buffer.from(`${digits}Z`))
}
const host = (text: string) =>
  /^[\d.]+$/.test(text) ? tlv(0x87, Buffer.from(text.split(".").map(Number))) : tlv(0x82, Buffer.from(text))

const pem = (label: string, der: Buffer): string =>
  `-----BEGIN ${label}-----\n${der
    .toString("base64")
    .match(/.{1,64}/g)!
    .join("\n")}\n-----END ${label}-----\n`

let serial = 0

/** A certificate with a new key, written by hand: Node reads certificates, but makes none. */
export const make = (request: Request): Identity & { readonly name: string } => {
  const { ca = false, from = -12, hosts = ["localhost", "127.0.0.1"], issuer, to = 12 } = request
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const extensions = [
    sequence(oid(basicConstraints), yes, octets(ca ? sequence(yes) : sequence())),
    ...(ca ? [] : [sequence(oid(alternativeNames), octets(sequence(...hosts.map(host))))])
  ]
  const body = sequence(
    tlv(0xa0, integer(2)),
    integer(1, ++serial),
    ecdsaWithSha256,
    name(issuer?.name ?? request.name),
    sequence(time(from), time(to)),
    name(request.name),
    pair.publicKey.export({ type: "spki", format: "der" }),
    tlv(0xa3, sequence(...extensions))
  )
  const signer: KeyObject = issuer === undefined ? pair.privateKey : createPrivateKey(issuer.key)
  return {
    name: request.name,
    cert: pem("CERTIFICATE", sequence(body, ecdsaWithSha256, bits(sign("sha256", body, signer)))),
    key: pair.privateKey.export({ type: "pkcs8", format: "pem" }) as string
  }
}
