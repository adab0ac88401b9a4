/**
 * A TCP connection of the virtual network, as its two ends see it.
 *
 * It carries frames of any kind with the size that they would have; what they mean is the protocol's matter.
 */
import { Link, type LinkOptions } from "./Link.ts"

/** How a connection ended, as one end sees it: in order, or broken. */
export type SocketEnd = "Closed" | "Reset"

/** What a line carries. */
export type Packet<F> =
  | { readonly _tag: "Frame"; readonly frame: F }
  | { readonly _tag: "End"; readonly how: SocketEnd }

/** What an end calls. */
export interface SocketListener<In> {
  onFrame(frame: In): void
  /** Once, and nothing after it. */
  onEnd(how: SocketEnd): void
}

/** The bytes that every frame costs beside its own. */
const frameBytes = 9

/** One end of a connection. */
export class Socket<In, Out> {
  /** The address at the other end. */
  readonly remote: string
  private listener: SocketListener<In> | undefined = undefined
  /** What came before anybody listened. */
  private early: Array<Packet<In>> = []
  /** Told when this end is over. For the network. */
  whenOver: (() => void) | undefined = undefined
  private out: Link<Packet<Out>> | undefined = undefined
  private over = false

  constructor(remote: string) {
    this.remote = remote
  }

  get open(): boolean {
    return !this.over
  }

  /** The way out. For the network. */
  attach(link: Link<Packet<Out>>): void {
    this.out = link
  }

  /** Gives what comes, and what has come, to a listener. Once. */
  listen(listener: SocketListener<In>): void {
    this.listener = listener
    const { early } = this
    this.early = []
    for (const packet of early) this.take(packet)
  }

  /** Hands a frame of so many bytes to the line. */
  send(frame: Out, bytes: number): void {
    if (!this.over) this.out!.send({ _tag: "Frame", frame }, bytes + frameBytes)
  }

  /** Ends it in order: what was sent before still arrives. */
  close(): void {
    this.leave("Closed")
  }

  /** Breaks it: the other end hears of it when the line lets it. */
  reset(): void {
    this.leave("Reset")
  }

  /** What the line brings. For the network. */
  receive(packet: Packet<In>): void {
    if (this.over) return
    if (this.listener === undefined) this.early.push(packet)
    else this.take(packet)
  }

  /** Ends this end at once. For the network. */
  end(how: SocketEnd): void {
    this.receive({ _tag: "End", how })
  }

  private take(packet: Packet<In>): void {
    if (this.over) return
    if (packet._tag === "Frame") return this.listener!.onFrame(packet.frame)
    this.over = true
    this.listener!.onEnd(packet.how)
    this.whenOver?.()
  }

  private leave(how: SocketEnd): void {
    if (this.over) return
    this.over = true
    this.out!.send({ _tag: "End", how }, frameBytes)
    this.whenOver?.()
  }
}

/** Both ends of a connection and the lines between them. */
export interface Pair<C, S> {
  readonly client: Socket<S, C>
  readonly server: Socket<C, S>
  readonly toServer: Link<Packet<C>>
  readonly toClient: Link<Packet<S>>
}

/** Somebody who sees what arrives, before it does. */
export interface Tap {
  (to: string, packet: Packet<unknown>): void
}

/** Connects two ends. */
export const pair = <C, S>(
  clientAddress: string,
  serverAddress: string,
  line: Omit<LinkOptions<never>, "deliver">,
  tap: () => Tap | undefined
): Pair<C, S> => {
  const client = new Socket<S, C>(serverAddress)
  const server = new Socket<C, S>(clientAddress)
  const through =
    <In, Out>(address: string, end: Socket<In, Out>) =>
    (packet: Packet<In>) => {
      tap()?.(address, packet)
      end.receive(packet)
    }
  const toServer = new Link<Packet<C>>({ ...line, deliver: through(serverAddress, server) })
  const toClient = new Link<Packet<S>>({ ...line, deliver: through(clientAddress, client) })
  client.attach(toServer)
  server.attach(toClient)
  return { client, server, toServer, toClient }
}
