/**
 * I-7 for health checks: nothing is lent of a connection whose server has said that it does not serve.
 *
 * What servers say is read from the wire, and what the client makes of it has until nothing is ready to run: from then on
 * it is known.
 */
import * as Effect from "effect/Effect"
import type { CallListener, Connection, Transport } from "@hawser/grpc/Connection"
import type { Ledger } from "./ledger.ts"

/** What the last answer of a Watch that runs was, and whether the client had the time to read it. */
interface Told {
  readonly serving: boolean
  known: boolean
}

/** Listens to every Watch of a run. */
export class HealthWatch {
  private readonly told = new Map<Connection, Told>()
  private readonly ledger: Ledger

  constructor(ledger: Ledger) {
    this.ledger = ledger
  }

  /** Nothing is ready to run. */
  idle(): void {
    for (const told of this.told.values()) told.known = true
  }

  /** A connection is lent. */
  lent(connection: Connection): void {
    const told = this.told.get(connection)
    if (told?.known === true && !told.serving) this.ledger.problem("I-7 a lease of a connection that is not serving")
  }

  /** The transport, overheard. */
  over(transport: Transport): Transport {
    return {
      connector: (options) =>
        Effect.map(
          transport.connector(options),
          (connector) => (endpoint) =>
            Effect.map(connector(endpoint), (session) => ({
              connection: this.overhear(session.connection),
              limit: () => session.limit(),
              heardAt: () => session.heardAt(),
              ended: () => session.ended(),
              listen: (listener: (() => void) | undefined) => session.listen(listener)
            }))
        )
    }
  }

  private overhear(connection: Connection): Connection {
    const self: Connection = {
      peer: connection.peer,
      start: (options, listener) => {
        if (options.path !== "/grpc.health.v1.Health/Watch") return connection.start(options, listener)
        let over = false
        const end = () => {
          over = true
          this.told.delete(self)
        }
        const wire = connection.start(
          options,
          this.hear(self, listener, () => over, end)
        )
        return {
          send: (bytes, written) => wire.send(bytes, written),
          end: () => wire.end(),
          read: () => wire.read(),
          cancel: () => {
            end()
            wire.cancel()
          }
        }
      }
    }
    return self
  }

  private hear(self: Connection, listener: CallListener, over: () => boolean, end: () => void): CallListener {
    return {
      onHeaders: (metadata) => listener.onHeaders(metadata),
      onMessage: (bytes) => {
        const serving = bytes[1] === 1
        if (!over()) this.told.set(self, { serving, known: false })
        if (!serving) this.ledger.felt("not serving", self.peer)
        listener.onMessage(bytes)
      },
      onStatus: (code, details, metadata, progress) => {
        end()
        listener.onStatus(code, details, metadata, progress)
      }
    }
  }
}
