/** `Channel.createCall` with a listener of its own: the least that grpc-js costs. */
import * as grpc from "@grpc/grpc-js"
import { type Connect, promised, promisedStreams } from "../client.ts"
import { definition, type Message } from "../echo.ts"

export const connect: Connect = async (address) => {
  const channel = new grpc.Channel(address, grpc.credentials.createInsecure(), {})
  const { path, requestSerialize, responseDeserialize } = definition.echo
  return promised(
    (message) =>
      new Promise((resolve, reject) => {
        const call = channel.createCall(path, Infinity, null, null, null)
        let reply: Message | undefined
        call.start(new grpc.Metadata(), {
          onReceiveMetadata: () => {},
          onReceiveMessage: (bytes: Buffer) => {
            reply = responseDeserialize(bytes)
          },
          onReceiveStatus: (status) => {
            if (status.code === grpc.status.OK && reply !== undefined) resolve(reply)
            else reject(new Error(`${status.code} ${status.details}`))
          }
        })
        call.sendMessageWithContext({}, requestSerialize(message))
        call.startRead()
        call.halfClose()
      })
  )
}

/** Reads on at each message, without any backpressure. */
export const connectStreams: Connect = async (address) => {
  const channel = new grpc.Channel(address, grpc.credentials.createInsecure(), {})
  const { path, requestSerialize, responseDeserialize } = definition.watch
  return promisedStreams(
    (message, read) =>
      new Promise((resolve, reject) => {
        const call = channel.createCall(path, Infinity, null, null, null)
        call.start(new grpc.Metadata(), {
          onReceiveMetadata: () => {},
          onReceiveMessage: (bytes: Buffer) => {
            responseDeserialize(bytes)
            read()
            call.startRead()
          },
          onReceiveStatus: (status) => {
            if (status.code === grpc.status.OK) resolve(undefined)
            else reject(new Error(`${status.code} ${status.details}`))
          }
        })
        call.sendMessageWithContext({}, requestSerialize(message))
        call.startRead()
        call.halfClose()
      })
  )
}
