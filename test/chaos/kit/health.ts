/** `grpc.health.v1.Health` by hand, with good and bad manners. */
import type * as grpc from "@grpc/grpc-js"
import type { HealthManners } from "./messages.ts"

/** Of HealthCheckResponse. */
const status = { Serving: 1, NotServing: 2, ServiceUnknown: 3 } as const
const unimplemented = 12
const unavailable = 14

type Watch = grpc.ServerWritableStream<Buffer, number>

const method = (name: string, responseStream: boolean): grpc.MethodDefinition<Buffer, number> => ({
  path: `/grpc.health.v1.Health/${name}`,
  requestStream: false,
  responseStream,
  requestSerialize: (bytes) => bytes,
  requestDeserialize: (bytes) => bytes,
  // Field 1, a varint.
  responseSerialize: (value) => Buffer.from([8, value]),
  responseDeserialize: (bytes) => bytes[1] ?? 0
})

/** The service, and what it was asked. */
export class HealthService {
  readonly definition = { check: method("Check", false), watch: method("Watch", true) }
  private manners: HealthManners
  private readonly watches = new Map<string, Set<Watch>>()
  private opened = 0
  private most = 0

  constructor(manners: HealthManners = "Serving") {
    this.manners = manners
  }

  become(manners: HealthManners): void {
    this.manners = manners
    for (const watch of [...this.watches.values()].flatMap((some) => [...some])) this.say(watch)
  }

  counts(): { readonly watches: number; readonly maxWatches: number } {
    return { watches: this.opened, maxWatches: this.most }
  }

  readonly handlers = {
    check: (_: unknown, callback: grpc.sendUnaryData<number>) => {
      if (this.manners === "Hangs") return
      if (this.manners === "Unimplemented") callback({ code: unimplemented, details: "no such method" })
      else callback(null, this.word())
    },
    watch: (watch: Watch) => {
      const peer = watch.getPeer()
      const all = this.watches.get(peer) ?? new Set()
      this.watches.set(peer, all.add(watch))
      this.opened++
      this.most = Math.max(this.most, all.size)
      watch.on("cancelled", () => this.gone(watch, all))
      watch.on("close", () => this.gone(watch, all))
      watch.on("error", () => this.gone(watch, all))
      this.say(watch)
    }
  }

  private gone(watch: Watch, all: Set<Watch>): void {
    all.delete(watch)
  }

  private word(): number {
    if (this.manners === "NotServing") return status.NotServing
    return this.manners === "ServiceUnknown" ? status.ServiceUnknown : status.Serving
  }

  private say(watch: Watch): void {
    switch (this.manners) {
      case "Unimplemented":
        return void watch.emit("error", { code: unimplemented, details: "no such method" })
      case "Dies":
        return void watch.emit("error", { code: unavailable, details: "going" })
      case "Hangs":
        return
      case "Floods":
        return this.every(watch, 1, () => status.Serving)
      case "Flaps":
        return this.every(watch, 50, (n) => (n % 2 === 0 ? status.Serving : status.NotServing))
      default:
        watch.write(this.word())
    }
  }

  private every(watch: Watch, millis: number, word: (n: number) => number): void {
    let n = 0
    const { manners } = this
    const timer = setInterval(() => {
      if (this.manners !== manners || watch.cancelled || watch.destroyed) return clearInterval(timer)
      watch.write(word(n++))
    }, millis)
  }
}
