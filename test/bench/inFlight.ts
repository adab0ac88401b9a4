/**
 * Unary calls that a server holds: over `Channel.createCall`, over the generated client, and over Hawser with a fiber each.
 */
import * as grpc from "@grpc/grpc-js"
import * as Client from "@hawser/grpc/Client"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { setTimeout as sleep } from "node:timers/promises"
import { definition, type Message, request } from "./echo.ts"
import type { Open } from "./heap.ts"
import type { Server } from "./server/start.ts"

/** As long as Hawser's default: a deadline costs a timer. */
const deadlineMillis = 15_000

/** A call that has been sent, and what gives it up. */
interface Held {
  readonly cancel: () => void
  readonly ended: () => Promise<unknown>
}

const held =
  (server: Server, count: number, send: () => Held): Open =>
  async () => {
    const all = Array.from({ length: count }, send)
    await running(server, count)
    return {
      close: async () => {
        for (const { cancel } of all) cancel()
        await Promise.all(all.map(({ ended }) => ended()))
        await running(server, 0)
      }
    }
  }

/** Until the server runs so many handlers. */
const running = async (server: Server, count: number): Promise<void> => {
  const until = performance.now() + 10_000
  for (;;) {
    const stats = await server.stats()
    if (stats.running === count) return
    if (performance.now() > until) throw new Error(`${stats.running} handlers run, not ${count}`)
    await sleep(5)
  }
}

type Send<C> = (message: Message, options: grpc.CallOptions, done: (error: unknown) => void) => C

/** A promise for each call, as clients of promises have. */
const promised = (send: Send<{ readonly cancel: () => void }>) => (): Held => {
  let cancel = (): void => {}
  const ended = new Promise<void>((resolve) => {
    const call = send(request, { deadline: Date.now() + deadlineMillis }, () => resolve())
    cancel = () => call.cancel()
  })
  return { cancel, ended: () => ended }
}

const createCall = (address: string): (() => Held) => {
  const channel = new grpc.Channel(address, grpc.credentials.createInsecure(), {})
  const { path, requestSerialize } = definition.echo
  return promised((message, { deadline }, done) => {
    const call = channel.createCall(path, deadline!, null, null, null)
    call.start(new grpc.Metadata(), {
      onReceiveMetadata: () => {},
      onReceiveMessage: () => {},
      onReceiveStatus: done
    })
    call.sendMessageWithContext({}, requestSerialize(message))
    call.startRead()
    call.halfClose()
    return { cancel: () => call.cancelWithStatus(grpc.status.CANCELLED, "") }
  })
}

const raw = (address: string): (() => Held) => {
  const Raw = grpc.makeGenericClientConstructor({ ...definition }, "Echo")
  const client = new Raw(address, grpc.credentials.createInsecure())
  return promised((client["echo"] as Send<grpc.ClientUnaryCall>).bind(client))
}

class Echo extends Client.Service<Echo>()("bench/Echo", definition, { idempotent: ["echo"] }) {}

const hawser = async (address: string): Promise<() => Held> => {
  const channel = Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure })
  const runtime = ManagedRuntime.make(Echo.layer.pipe(Layer.provideMerge(channel)))
  const { echo } = await runtime.runPromise(Echo)
  return () => {
    const fiber = Effect.runFork(echo(request))
    return {
      cancel: () => fiber.interruptUnsafe(),
      ended: () => Effect.runPromise(Fiber.await(fiber))
    }
  }
}

/** `count` calls of each client, each over a connection of its own. */
export const calls = async (server: Server, count: number) => {
  const { address } = server
  return {
    createCall: held(server, count, createCall(address)),
    raw: held(server, count, raw(address)),
    hawser: held(server, count, await hawser(address))
  }
}
