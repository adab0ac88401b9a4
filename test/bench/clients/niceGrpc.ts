/** nice-grpc, as its documentation uses it. */
import { createChannel, createClient } from "nice-grpc"
import { promised, type Connect } from "../client.ts"
import { definition, type Message } from "../echo.ts"

export const connect: Connect = async (address) => {
  const client = createClient({ ...definition }, createChannel(address)) as unknown as {
    readonly echo: (message: Message) => Promise<Message>
  }
  return promised((message) => client.echo(message))
}
