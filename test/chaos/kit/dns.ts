/** Child: a name server that says what it is told, truth or not. UDP, A records, one name. */
import * as dgram from "node:dgram"
import type { DnsAnswer, FromDns, ToDns } from "./messages.ts"

const { host, port } = JSON.parse(process.argv[2]!) as { readonly host: string; readonly port: number }
const tell = (message: FromDns) => process.send!(message)

let answer: DnsAnswer = { tag: "addresses", sets: [[]] }
let asked = 0
const types = { a: 1 } as const
const codes = { ok: 0, servfail: 2, nxdomain: 3 } as const

/** The end of the question that begins after the header. */
const endOfQuestion = (query: Buffer): number => {
  let at = 12
  while (query[at] !== 0) at += query[at]! + 1
  return at + 5
}

const record = (address: string): Buffer =>
  // A pointer to the name of the question, type A, class IN, a TTL of 0, four bytes.
  Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split(".").map(Number)])

const reply = (query: Buffer, code: number, addresses: ReadonlyArray<string>): Buffer => {
  const end = endOfQuestion(query)
  const head = Buffer.from(query.subarray(0, 12))
  head.writeUInt16BE(0x8580 | code, 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt16BE(addresses.length, 6)
  head.fill(0, 8)
  return Buffer.concat([head, query.subarray(12, end), ...addresses.map(record)])
}

const socket = dgram.createSocket("udp4")
socket.on("message", (query, peer) => {
  const isA = query.readUInt16BE(endOfQuestion(query) - 4) === types.a
  if (isA) asked++
  const send = (code: number, addresses: ReadonlyArray<string> = []) =>
    socket.send(reply(query, code, addresses), peer.port, peer.address)
  switch (answer.tag) {
    case "addresses":
      return send(codes.ok, isA ? answer.sets[asked % answer.sets.length] : [])
    case "empty":
      return send(codes.ok)
    case "nxdomain":
      return send(codes.nxdomain)
    case "servfail":
      return send(codes.servfail)
    case "silent":
      return
  }
})
socket.bind(port, host, () => tell({ tag: "listening" }))

process.on("message", (message: ToDns) => {
  if (message.tag === "say") ({ answer } = message)
  tell(message.tag === "count" ? { tag: "count", asked } : { tag: "done" })
})
process.on("disconnect", () => process.exit())
