/** The generated grpc-js client, promisified: what every ratio is against. */
import * as grpc from "@grpc/grpc-js"
import { type Connect, promised, promisedStreams } from "../client.ts"
import { definition, type Message } from "../echo.ts"

type Echo = (message: Message, done: (error: grpc.ServiceError | null, reply?: Message) => void) => void
type Watch = (message: Message) => grpc.ClientReadableStream<Message>

/** A promise for each call. */
export const unary = (address: string, options: grpc.ClientOptions = {}): ((message: Message) => Promise<Message>) => {
  const Raw = grpc.makeGenericClientConstructor({ ...definition }, "Echo")
  const client = new Raw(address, grpc.credentials.createInsecure(), options)
  const echo = (client["echo"] as Echo).bind(client)
  return (message) =>
    new Promise((resolve, reject) => {
      echo(message, (error, reply) => (error === null && reply !== undefined ? resolve(reply) : reject(error)))
    })
}

export const connect: Connect = async (address) => promised(unary(address))

/** With `data` events: the fastest that the generated client has. */
export const connectStreams: Connect = async (address) => {
  const Raw = grpc.makeGenericClientConstructor({ ...definition }, "Echo")
  const client = new Raw(address, grpc.credentials.createInsecure())
  const watch = (client["watch"] as Watch).bind(client)
  return promisedStreams(
    (message, read) =>
      new Promise((resolve, reject) => {
        const stream = watch(message)
        stream.on("data", read)
        stream.on("error", reject)
        stream.on("end", resolve)
      })
  )
}
