/** Hawser with nothing configured: one fiber per lane, or one `runPromise` per call. */
import * as Client from "@hawser/grpc/Client"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Stream from "effect/Stream"
import { type Connect, promised, promisedStreams } from "../client.ts"
import { definition } from "../echo.ts"
import { fibers } from "../fibers.ts"

class Echo extends Client.Service<Echo>()("bench/Echo", definition, { idempotent: ["echo"] }) {}

const open = async (address: string) => {
  const channel = Grpc.layer({ target: `ipv4:${address}`, credentials: Credentials.insecure })
  const runtime = ManagedRuntime.make(Echo.layer.pipe(Layer.provideMerge(channel)))
  return { echo: await runtime.runPromise(Echo), runtime }
}

export const connectStreams: Connect = async (address) => {
  const { echo, runtime } = await open(address)
  return promisedStreams((message, read) =>
    runtime.runPromise(Stream.runForEach(echo.watch(message), () => Effect.sync(read)))
  )
}

export const connect: Connect = async (address) => {
  const { echo, runtime } = await open(address)
  return fibers(echo.echo, runtime.runPromise)
}

export const connectPromise: Connect = async (address) => {
  const { echo, runtime } = await open(address)
  return promised((message) => runtime.runPromise(echo.echo(message)))
}
