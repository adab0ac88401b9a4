/** Child: an echo server whose latency is set, and whose calls in flight are counted, by message. */
import * as grpc from "@grpc/grpc-js"
import { EchoDefinition } from "./echo.ts"
import type { EchoReply, EchoRequest } from "./echo.ts"
import type { FromServer, ServerConfig, ToServer } from "./messages.ts"

const config = JSON.parse(process.argv[2]!) as ServerConfig
const tell = (message: FromServer) => process.send!(message)

let millis = config.millis
let address = ""
const inFlight = { hawser: 0, raw: 0 }

const server = new grpc.Server()
server.addService(EchoDefinition, {
  echo: ({ request }: { readonly request: EchoRequest }, reply: grpc.sendUnaryData<EchoReply>) => {
    inFlight[request.client]++
    setTimeout(() => {
      inFlight[request.client]--
      reply(null, { text: request.text, server: address })
    }, millis)
  }
})

// A port whose owner was killed a moment ago may take a while to be free.
const listen = (): void =>
  server.bindAsync(`127.0.0.1:${config.port}`, grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error !== null) {
      setTimeout(listen, 20)
      return
    }
    address = `127.0.0.1:${port}`
    tell({ tag: "listening", port })
  })

process.on("message", (message: ToServer) => {
  if (message.tag === "count") {
    tell({ tag: "count", inFlight })
  } else {
    millis = message.millis
    tell({ tag: "latency" })
  }
})
process.on("disconnect", () => process.exit())
listen()
