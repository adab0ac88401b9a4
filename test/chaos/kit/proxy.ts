/** Child: a proxy of TCP whose faults are switched while it runs. */
import * as net from "node:net"
import type { FromProxy, ProxyConfig, ProxyFaults, ToProxy } from "./messages.ts"

const config = JSON.parse(process.argv[2]!) as ProxyConfig
const tell = (message: FromProxy) => process.send!(message)
const [toHost = "", toPort = "0"] = config.to.split(":")

let faults: ProxyFaults = {}
let accepted = 0
const pairs = new Set<Pair>()

/** One direction: bytes in order, each as late as the fault says when it comes. */
class Way {
  private readonly from: net.Socket
  private readonly to: net.Socket
  private readonly inspect: (chunk: Buffer) => Buffer | undefined
  private queue: ReadonlyArray<{ readonly due: number; readonly chunk: Buffer }> = []
  private timer: NodeJS.Timeout | undefined

  constructor(from: net.Socket, to: net.Socket, inspect: (chunk: Buffer) => Buffer | undefined) {
    this.from = from
    this.to = to
    this.inspect = inspect
    from.on("data", (chunk) => this.push(chunk))
    from.on("end", () => to.end())
    to.on("drain", () => from.resume())
  }

  private push(read: Buffer): void {
    const chunk = this.inspect(read)
    if (chunk === undefined) return
    const { bytesPerSecond, delayMillis = 0 } = faults
    const last = this.queue.at(-1)?.due ?? 0
    const bandwidth = bytesPerSecond === undefined ? 0 : (chunk.length * 1_000) / bytesPerSecond
    const due = Math.max(performance.now() + delayMillis / 2, last) + bandwidth
    const straight = this.queue.length === 0 && delayMillis === 0 && bandwidth === 0 && faults.stall !== true
    if (straight) return this.write(chunk)
    this.queue = [...this.queue, { due, chunk }]
    // What is on its way is bounded: the sender feels it.
    if (this.queue.length > 64) this.from.pause()
    this.arm()
  }

  private arm(): void {
    if (this.timer !== undefined || this.queue.length === 0) return
    this.timer = setTimeout(
      () => {
        this.timer = undefined
        this.flush()
      },
      faults.stall === true ? 10 : Math.max(0, this.queue[0]!.due - performance.now())
    )
  }

  private flush(): void {
    if (faults.stall !== true) {
      const now = performance.now()
      const ready = this.queue.filter(({ due }) => due <= now)
      this.queue = this.queue.slice(ready.length)
      for (const { chunk } of ready) this.write(chunk)
      if (this.queue.length <= 64 && !this.to.writableNeedDrain) this.from.resume()
    }
    this.arm()
  }

  private write(chunk: Buffer): void {
    if (!this.to.destroyed && !this.to.write(chunk)) this.from.pause()
  }

  end(): void {
    clearTimeout(this.timer)
    this.queue = []
  }
}

class Pair {
  private readonly client: net.Socket
  private readonly server: net.Socket
  private fromServer = 0
  private passed = 0
  private readonly ways: ReadonlyArray<Way>

  constructor(client: net.Socket) {
    this.client = client
    this.server = net.connect(Number(toPort), toHost)
    for (const socket of [this.client, this.server]) {
      socket.setNoDelay(true)
      socket.on("error", () => this.end())
      socket.on("close", () => this.end())
    }
    this.ways = [
      new Way(this.client, this.server, (chunk) => this.flip(chunk)),
      new Way(this.server, this.client, (chunk) => this.cut(this.flip(chunk)))
    ]
  }

  reset(): void {
    this.client.resetAndDestroy()
    this.end()
  }

  private end(): void {
    pairs.delete(this)
    for (const way of this.ways) way.end()
    this.client.destroy()
    this.server.destroy()
  }

  private flip(chunk: Buffer): Buffer {
    const { flipEvery } = faults
    if (flipEvery === undefined) return chunk
    const flipped = Buffer.from(chunk)
    for (let i = 0; i < flipped.length; i++) {
      if (++this.passed % flipEvery === 0) flipped[i]! ^= 1 << (this.passed % 8)
    }
    return flipped
  }

  private cut(chunk: Buffer): Buffer | undefined {
    const { cutAfter } = faults
    if (cutAfter === undefined) return chunk
    const rest = cutAfter - this.fromServer
    this.fromServer += chunk.length
    if (rest > chunk.length) return chunk
    this.client.write(chunk.subarray(0, Math.max(0, rest)), () => this.reset())
    return undefined
  }
}

const server = net.createServer((client) => {
  accepted++
  pairs.add(new Pair(client))
})
server.listen(config.port, config.host, () =>
  tell({ tag: "listening", port: (server.address() as net.AddressInfo).port })
)

process.on("message", (message: ToProxy) => {
  if (message.tag === "faults") ({ faults } = message)
  if (message.tag === "reset") for (const pair of [...pairs]) pair.reset()
  tell(message.tag === "count" ? { tag: "count", accepted, open: pairs.size } : { tag: "done" })
})
process.on("disconnect", () => process.exit())
