/** The generated grpc-js client, promisified: what every ratio is against. */
import * as grpc from "@grpc/grpc-js"
import { promised, type Connect } from "../client.ts"
import { definition, type Message } from "../echo.ts"

type Echo = (message: Message, done: (error: grpc.ServiceError | null, reply?: Message) => void) => void

export const connect: Connect = async (address) => {
  const Raw = grpc.makeGenericClientConstructor({ ...definition }, "Echo")
  const client = new Raw(address, grpc.credentials.createInsecure())
  const echo = (client["echo"] as Echo).bind(client)
  return promised(
    (message) =>
      new Promise((resolve, reject) => {
        echo(message, (error, reply) => (error === null && reply !== undefined ? resolve(reply) : reject(error)))
      })
  )
}
