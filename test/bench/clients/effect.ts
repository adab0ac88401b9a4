/** One `Effect.callback` over `createCall` and nothing else: what is left for a library in Effect to spend. */
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import type { Connect } from "../client.ts"
import { definition, type Message } from "../echo.ts"
import { fibers } from "../fibers.ts"

export const connect: Connect = async (address) => {
  const channel = new grpc.Channel(address, grpc.credentials.createInsecure(), {})
  const { path, requestSerialize, responseDeserialize } = definition.echo
  const echo = (message: Message): Effect.Effect<Message> =>
    Effect.callback<Message>((resume) => {
      const call = channel.createCall(path, Infinity, null, null, null)
      let reply: Message | undefined
      call.start(new grpc.Metadata(), {
        onReceiveMetadata: () => {},
        onReceiveMessage: (bytes: Buffer) => {
          reply = responseDeserialize(bytes)
        },
        onReceiveStatus: (status) =>
          resume(
            status.code === grpc.status.OK && reply !== undefined
              ? Effect.succeed(reply)
              : Effect.die(new Error(`${status.code} ${status.details}`))
          )
      })
      call.sendMessageWithContext({}, requestSerialize(message))
      call.startRead()
      call.halfClose()
      return Effect.sync(() => call.cancelWithStatus(grpc.status.CANCELLED, "interrupted"))
    })
  return fibers(echo, Effect.runPromise)
}
