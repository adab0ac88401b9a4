import { createCipheriv, createHmac } from "node:crypto"
import { Duplex } from "node:stream"
import * as tls from "node:tls"
import type { Manners } from "./TcpServer.ts"
import type { Identity } from "./TlsCertificates.ts"

/** What a server of TLS says to the certificate of a client, or to its absence. */
export interface Complaint {
  readonly identity: Identity
  readonly version: "TLSv1.2" | "TLSv1.3"
  readonly alert: number
  /** Bytes inside TLS 1.3 that come first; the alert then waits until `later` calls back. */
  readonly greeting?: Buffer
  readonly later?: (complain: () => void) => void
}

/** HKDF-Expand-Label of TLS 1.3, for up to 32 bytes. */
const expand = (secret: Buffer, label: string, length: number): Buffer => {
  const name = Buffer.from(`tls13 ${label}`)
  const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])])
  return createHmac("sha256", secret).update(info).digest().subarray(0, length)
}

/** One record of TLS 1.3: the type is the last byte of what is encrypted. */
const seal = (secret: Buffer, sequence: number, type: number, bytes: Buffer): Buffer => {
  const nonce = Buffer.from(expand(secret, "iv", 12))
  nonce[11]! ^= sequence
  const head = Buffer.from([23, 3, 3, 0, bytes.length + 17])
  const cipher = createCipheriv("aes-128-gcm", expand(secret, "key", 16), nonce).setAAD(head)
  return Buffer.concat([
    head,
    cipher.update(Buffer.concat([bytes, Buffer.from([type])])),
    cipher.final(),
    cipher.getAuthTag()
  ])
}

/**
 * Asks for a certificate, and answers with an alert when the client has sent its own part: what most servers do, but not
 * Node's, which hang up. In TLS 1.3 the client's handshake is done by then.
 */
export const complaining =
  ({ alert, greeting, identity, later, version }: Complaint): Manners =>
  (socket) => {
    const server = tls.createServer({
      cert: identity.cert,
      key: identity.key,
      requestCert: true,
      minVersion: version,
      maxVersion: version,
      ALPNProtocols: ["h2"],
      ...(version === "TLSv1.3" ? { ciphers: "TLS_AES_128_GCM_SHA256" } : {})
    })
    let secret: Buffer | undefined
    server.on("keylog", (line) => {
      const [label, , hex] = line.toString().trim().split(" ")
      if (label === "SERVER_TRAFFIC_SECRET_0") secret = Buffer.from(hex!, "hex")
    })
    server.on("tlsClientError", () => {})
    let answered = false
    const inner = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _, done) => {
        answered = true
        socket.write(chunk)
        done()
      }
    })
    socket.on("close", () => inner.destroy())
    let sequence = 0
    const say = (type: number, bytes: Buffer) => {
      const plain = Buffer.concat([Buffer.from([type, 3, 3, 0, bytes.length]), bytes])
      socket.write(secret === undefined ? plain : seal(secret, sequence++, type, bytes))
    }
    const complain = () => {
      say(21, Buffer.from([2, alert]))
      socket.end()
    }
    let done = false
    socket.on("data", (chunk: Buffer) => {
      if (!answered) return void inner.push(chunk)
      if (done) return
      done = true
      if (greeting !== undefined) say(23, greeting)
      if (later === undefined) complain()
      else later(complain)
    })
    server.emit("connection", inner)
  }
