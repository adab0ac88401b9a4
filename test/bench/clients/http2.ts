/** gRPC by hand over node:http2: the floor, which nothing over grpc-js can reach. */
import { once } from "node:events"
import * as http2 from "node:http2"
import { promised, type Connect } from "../client.ts"
import { definition } from "../echo.ts"

const prefix = 5

export const connect: Connect = async (address) => {
  const session = http2.connect(`http://${address}`)
  session.on("error", () => {})
  // Before the peer's SETTINGS have come, calls above its stream limit would be sent, and refused.
  await once(session, "remoteSettings")
  const { path, requestSerialize, responseDeserialize } = definition.echo
  const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" }
  return promised(
    (message) =>
      new Promise((resolve, reject) => {
        const stream = session.request(headers)
        const chunks: Array<Buffer> = []
        let status: string | undefined
        stream.on("data", (chunk: Buffer) => chunks.push(chunk))
        stream.on("trailers", (trailers) => {
          status = trailers["grpc-status"] as string | undefined
        })
        stream.on("error", reject)
        stream.on("end", () => {
          const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
          if (status === "0") resolve(responseDeserialize(bytes.subarray(prefix)))
          else reject(new Error(`grpc-status ${status ?? "missing"}`))
        })
        const body = requestSerialize(message)
        const frame = Buffer.allocUnsafe(prefix + body.length)
        frame[0] = 0
        frame.writeUInt32BE(body.length, 1)
        body.copy(frame, prefix)
        stream.end(frame)
      })
  )
}
