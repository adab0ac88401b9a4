/** A proxy of TCP whose faults are switched while it runs. */
import { Effect, type Scope } from "effect"
import * as net from "node:net"

/** What a proxy does to what passes. */
export interface ProxyFaults {
  /** Later by so much, both ways together. */
  readonly delayMillis?: number | undefined
  /** Nothing passes, in either direction; connections are accepted. */
  readonly stall?: boolean | undefined
  /** Each connection is reset after so many bytes from the server. */
  readonly cutAfter?: number | undefined
  /** One bit in so many bytes is flipped. */
  readonly flipEvery?: number | undefined
  /** Bytes per second, each way. */
  readonly bytesPerSecond?: number | undefined
}

/** One direction: bytes in order, each as late as the fault says when it comes. */
class Way {
  private readonly proxy: TcpProxy
  private readonly from: net.Socket
  private readonly to: net.Socket
  private readonly inspect: (chunk: Buffer) => Buffer | undefined
  private queue: ReadonlyArray<{ readonly due: number; readonly chunk: Buffer }> = []
  private timer: NodeJS.Timeout | undefined

  constructor(proxy: TcpProxy, from: net.Socket, to: net.Socket, inspect: (chunk: Buffer) => Buffer | undefined) {
    this.proxy = proxy
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
    const { bytesPerSecond, delayMillis = 0 } = this.proxy.faults
    const last = this.queue.at(-1)?.due ?? 0
    const bandwidth = bytesPerSecond === undefined ? 0 : (chunk.length * 1_000) / bytesPerSecond
    const due = Math.max(performance.now() + delayMillis / 2, last) + bandwidth
    const straight = this.queue.length === 0 && delayMillis === 0 && bandwidth === 0 && this.proxy.faults.stall !== true
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
      this.proxy.faults.stall === true ? 10 : Math.max(0, this.queue[0]!.due - performance.now())
    )
  }

  private flush(): void {
    if (this.proxy.faults.stall !== true) {
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

/** A connection of a client, and ours to the server. */
class Pair {
  private readonly proxy: TcpProxy
  private readonly client: net.Socket
  private readonly server: net.Socket
  private fromServer = 0
  private passed = 0
  private readonly ways: ReadonlyArray<Way>

  constructor(proxy: TcpProxy, client: net.Socket, server: net.Socket) {
    this.proxy = proxy
    this.client = client
    this.server = server
    for (const socket of [this.client, this.server]) {
      socket.setNoDelay(true)
      socket.on("error", () => this.end())
      socket.on("close", () => this.end())
    }
    this.ways = [
      new Way(proxy, this.client, this.server, (chunk) => this.flip(chunk)),
      new Way(proxy, this.server, this.client, (chunk) => this.cut(this.flip(chunk)))
    ]
  }

  reset(): void {
    this.client.resetAndDestroy()
    this.end()
  }

  private end(): void {
    this.proxy.pairs.delete(this)
    for (const way of this.ways) way.end()
    this.client.destroy()
    this.server.destroy()
  }

  private flip(chunk: Buffer): Buffer {
    const { flipEvery } = this.proxy.faults
    if (flipEvery === undefined) return chunk
    const flipped = Buffer.from(chunk)
    for (let i = 0; i < flipped.length; i++) {
      if (++this.passed % flipEvery === 0) flipped[i]! ^= 1 << (this.passed % 8)
    }
    return flipped
  }

  private cut(chunk: Buffer): Buffer | undefined {
    const { cutAfter } = this.proxy.faults
    if (cutAfter === undefined) return chunk
    const rest = cutAfter - this.fromServer
    this.fromServer += chunk.length
    if (rest > chunk.length) return chunk
    this.client.write(chunk.subarray(0, Math.max(0, rest)), () => this.reset())
    return undefined
  }
}

/** Listens, and passes what comes on to an address, with its faults. */
export class TcpProxy {
  /** What it does from now on. */
  faults: ProxyFaults = {}
  accepted = 0
  port = 0
  readonly pairs = new Set<Pair>()
  private readonly server: net.Server

  /** `to`: `HOST:PORT` */
  constructor(to: string) {
    const [host = "", port] = to.split(":")
    this.server = net.createServer((client) => {
      this.accepted++
      this.pairs.add(new Pair(this, client, net.connect(Number(port), host)))
    })
  }

  listen(host: string, port: number, listening: () => void): void {
    this.server.listen(port, host, () => {
      this.port = (this.server.address() as net.AddressInfo).port
      listening()
    })
  }

  /** Resets all connections. */
  reset(): void {
    for (const pair of [...this.pairs]) pair.reset()
  }

  close(closed: () => void): void {
    this.reset()
    this.server.close(closed)
  }
}

/** One on a free port, that is gone when the scope closes. */
export const make = (to: string): Effect.Effect<TcpProxy, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<TcpProxy>((resume) => {
      const proxy = new TcpProxy(to)
      proxy.listen("127.0.0.1", 0, () => resume(Effect.succeed(proxy)))
    }),
    (proxy) => Effect.callback<void>((resume) => proxy.close(() => resume(Effect.void)))
  )
