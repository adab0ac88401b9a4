/** Child: takes over a port, accepts every connection and never says a word. */
import * as net from "node:net"
import type { FromSilent, ToSilent } from "./messages.ts"

const tell = (message: FromSilent) => process.send!(message)

process.on("message", ({ port }: ToSilent) => {
  const listener = net.createServer((socket) => socket.on("error", () => {}))
  const listen = () => listener.listen(port, "127.0.0.1")
  listener.on("error", () => setTimeout(listen, 5))
  listener.on("listening", () => tell({ tag: "listening" }))
  listen()
})
process.on("disconnect", () => process.exit())
tell({ tag: "ready" })
