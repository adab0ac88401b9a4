import type { Borrow } from "@hawser/core/Borrow"
import type { ConnectError } from "@hawser/core/ConnectError"
import { makeUnsafe } from "@hawser/core/Endpoint"
import type { Lease, LoadReport } from "@hawser/core/Lease"
import * as Bridge from "@hawser/grpc/Bridge"
import type { Channel } from "@hawser/grpc/Channel"
import type { CallListener, Connection, StartOptions } from "@hawser/grpc/Connection"
import { Effect } from "effect"
import { Watched } from "./eventually.ts"

export interface ScriptedWireOptions {
  /** The bridge's own. Default 100. */
  readonly maxSendBytes?: number
  /** No call can be started. */
  readonly broken?: boolean
  /** The bridge's own. */
  readonly reports?: boolean
}

/** A bridge over a queue and a wire that write down what they are told, and do what the test says. */
export class ScriptedWire {
  readonly log: Array<string> = []
  now = 0
  borrow: Borrow<Connection, ConnectError> | undefined
  started: StartOptions | undefined
  /** The call on the wire. */
  listener: CallListener | undefined
  /** What came with the last release. */
  report: LoadReport | undefined
  readonly channel: Channel
  private readonly lease: Lease<Connection>
  private readonly watched = new Watched()
  private written: (() => void) | undefined

  constructor(options: ScriptedWireOptions = {}) {
    const wire = {
      send: (bytes: Uint8Array, written?: () => void) => {
        this.written = written
        this.note(`send ${bytes.length}`)
      },
      end: () => this.note("end"),
      read: () => this.note("read"),
      cancel: () => this.note("cancel")
    }
    const connection: Connection = {
      peer: "a:1",
      start: (start, from) => {
        if (options.broken === true) throw new Error("no stream")
        this.started = start
        this.listener = from
        this.note("start")
        return wire
      }
    }
    this.lease = {
      _tag: "Lease",
      connection,
      endpoint: makeUnsafe({ addresses: ["a:1"] }),
      id: "a:1#7",
      startedAt: 0,
      responded: () => this.note("responded"),
      release: (outcome, report) => {
        this.report = report
        this.note(`release ${outcome}`)
      },
      observe: () => {}
    }
    this.channel = Bridge.make({
      borrowUnsafe: (asked) => {
        this.borrow = asked
        this.note("queue")
        return { leave: () => this.note("leave") }
      },
      maxSendBytes: options.maxSendBytes ?? 100,
      now: () => this.now,
      reports: options.reports
    })
  }

  /** Gives the call its permit. */
  grant(): void {
    this.borrow!.granted({ ...this.lease, startedAt: this.now })
  }

  /** Messages from the server, all in one turn. */
  receive(...texts: ReadonlyArray<string>): void {
    for (const text of texts) this.listener!.onMessage(Buffer.from(text))
  }

  /** The transport has taken the last message. */
  take(): void {
    this.written?.()
  }

  /** How often the log has a line. */
  count(line: string): number {
    return this.log.filter((one) => one === line).length
  }

  /** Waits for the log to have a line so often, and for whoever wrote it to be done. */
  until(line: string, times = 1): Effect.Effect<void> {
    const written = this.watched.until(
      line,
      () => this.count(line) === times,
      () => this.log
    )
    return Effect.andThen(written, Effect.yieldNow)
  }

  private note(line: string): void {
    this.log.push(line)
    this.watched.changed()
  }
}
