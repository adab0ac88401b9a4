/**
 * The sockets of one dial.
 *
 * grpc-js neither times out a dial nor closes what hangs in one, and it hides the errors of sockets. So every socket that
 * a dial creates is seen here: from its creation, through Node's diagnostics channel, and again when TLS is on it. They
 * give the reason of a failure, the proof of life (bytes received) and a close that leaves nothing.
 */
import type * as grpc from "@grpc/grpc-js"
import { AsyncLocalStorage, AsyncResource } from "node:async_hooks"
import * as diagnostics from "node:diagnostics_channel"
import { isIP, type Socket } from "node:net"
import { TLSSocket } from "node:tls"

const dialling = new AsyncLocalStorage<DialSockets>()
let dials = 0
const onSocket = (message: unknown): void => {
  dialling.getStore()?.add((message as { readonly socket: Socket }).socket)
}

/** The length of an alert that is not encrypted. */
const alertBytes = 7

/**
 * grpc-js asks for an address by name, which TLS forbids and Node warns of. The certificate is checked against the
 * address all the same. The field is not part of grpc-js's API: where it is gone, nothing but the warning is back.
 */
const withoutAddressAsName = (connector: grpc.experimental.SecureConnector): grpc.experimental.SecureConnector => {
  const { connectionOptions } = connector as { readonly connectionOptions?: { servername?: string } }
  if (isIP(connectionOptions?.servername ?? "") !== 0) connectionOptions!.servername = ""
  return connector
}

const owners = new WeakMap<Socket, DialSockets>()
function failed(this: Socket, error: unknown): void {
  owners.get(this)?.fail(error)
  // Node leaves HTTP/2 open after an alert of TLS, and calls would wait for their deadline.
  this.destroy()
}
function closed(this: Socket): void {
  owners.get(this)?.remove(this)
}

/** No part of the context in which somebody dials: it would live as long as the connection, in its handles. */
const outside = new AsyncResource("hawser")

const none: ReadonlyArray<never> = []

/** The sockets of one dial. */
export class DialSockets {
  /** The first error that any of them had. */
  error: unknown = undefined
  /** Whether the peer has said more than one alert since TLS was begun. */
  begun = false
  private sockets: ReadonlyArray<Socket> = none
  private last: Socket | undefined = undefined
  private watching = false
  private dialled = false
  private closed = false

  /** Runs `dial` so that sockets created by it are seen here. */
  watch(dial: () => void): void {
    if (dials++ === 0) diagnostics.subscribe("net.client.socket", onSocket)
    this.watching = true
    outside.runInAsyncScope(() => dialling.run(this, dial))
  }

  /** No more sockets are expected. */
  unwatch(): void {
    if (!this.watching) return
    this.watching = false
    if (--dials > 0) return
    diagnostics.unsubscribe("net.client.socket", onSocket)
    // Before Node 24 its hooks slow every promise of the process.
    dialling.disable()
  }

  /** Whether this is the first attempt. */
  begin(): boolean {
    const first = !this.dialled
    this.dialled = true
    return first
  }

  add(socket: Socket): void {
    if (this.closed) {
      socket.destroy()
      return
    }
    this.last = socket
    if (!this.sockets.includes(socket)) this.sockets = this.sockets.concat(socket)
    owners.set(socket, this)
    // Anew each time: the handshake with a proxy takes all listeners off.
    socket.off("error", failed).on("error", failed)
    socket.off("close", closed).on("close", closed)
  }

  remove(socket: Socket): void {
    this.sockets = this.sockets.filter((s) => s !== socket)
  }

  fail(error: unknown): void {
    this.error ??= error
  }

  /** Bytes received so far. */
  get received(): number {
    return this.last?.bytesRead ?? 0
  }

  /** That the connection broke, if it did and nobody said why. */
  get dropped(): Error | undefined {
    const { last } = this
    return last === undefined || last.destroyed || last.readableEnded ? new Error("connection dropped") : undefined
  }

  /** Lets the sockets end by themselves, for a while. */
  goodbye(millis: number, then: () => void): void {
    const timer = setTimeout(then, millis)
    this.whenClosed(() => {
      clearTimeout(timer)
      then()
    })
  }

  /** Destroys what is open and calls `done` when all is closed. */
  destroy(done: () => void): void {
    this.closed = true
    this.unwatch()
    this.whenClosed(done)
    // In the tick of its creation, connect() would bring it back to life.
    for (const socket of this.sockets) process.nextTick(() => socket.destroy())
  }

  private whenClosed(done: () => void): void {
    const open = this.sockets.filter((socket) => !socket.closed)
    let left = open.length
    if (left === 0) return done()
    for (const socket of open) {
      socket.once("close", () => {
        if (--left === 0) done()
      })
    }
  }
}

/** Credentials that show the sockets of each dial, and the errors of handshakes. `secured` may throw to refuse a socket. */
export const seen = (
  credentials: grpc.ChannelCredentials,
  secured: (socket: TLSSocket) => void
): grpc.ChannelCredentials =>
  Object.create(credentials, {
    _createSecureConnector: {
      value: (...args: Parameters<grpc.ChannelCredentials["_createSecureConnector"]>) =>
        new SeenConnector(
          withoutAddressAsName(credentials._createSecureConnector(...args)),
          dialling.getStore(),
          secured
        )
    }
  }) as grpc.ChannelCredentials

class SeenConnector implements grpc.experimental.SecureConnector {
  private readonly connector: grpc.experimental.SecureConnector
  private readonly sockets: DialSockets | undefined
  private readonly secured: (socket: TLSSocket) => void

  constructor(
    connector: grpc.experimental.SecureConnector,
    sockets: DialSockets | undefined,
    secured: (socket: TLSSocket) => void
  ) {
    this.connector = connector
    this.sockets = sockets
    this.secured = secured
  }

  waitForReady(): Promise<void> {
    // grpc-js dials again by itself: a second after the first failure, even if closed by then, and at other times.
    return this.sockets?.begin() === true ? this.connector.waitForReady() : Promise.reject(new Error("one dial only"))
  }
  async connect(socket: Socket): ReturnType<grpc.experimental.SecureConnector["connect"]> {
    const sockets = this.sockets!
    sockets.add(socket)
    const before = socket.bytesRead
    try {
      const result = await this.connector.connect(socket).finally(() => {
        sockets.begun = socket.bytesRead - before > alertBytes
      })
      sockets.add(result.socket)
      if (result.socket instanceof TLSSocket) this.secured(result.socket)
      return result
    } catch (error) {
      sockets.fail(error)
      throw error
    }
  }
  getCallCredentials(): grpc.CallCredentials {
    return this.connector.getCallCredentials()
  }
  destroy(): void {
    this.connector.destroy()
  }
}
