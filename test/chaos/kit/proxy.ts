/** Child: a proxy of TCP that is told its faults. */
import { TcpProxy } from "../../support/grpc/TcpProxy.ts"
import type { FromProxy, ProxyConfig, ToProxy } from "./messages.ts"

const { host, port, to } = JSON.parse(process.argv[2]!) as ProxyConfig
const tell = (message: FromProxy) => process.send!(message)
const proxy = new TcpProxy(to)
proxy.listen(host, port, () => tell({ tag: "listening", port: proxy.port }))

process.on("message", (message: ToProxy) => {
  if (message.tag === "faults") proxy.faults = message.faults
  if (message.tag === "reset") proxy.reset()
  const { accepted, pairs } = proxy
  tell(message.tag === "count" ? { tag: "count", accepted, open: pairs.size } : { tag: "done" })
})
process.on("disconnect", () => process.exit())
