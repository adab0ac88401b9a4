/** connect-node's gRPC transport, over node:http2 and with the codec of protobuf-es: it takes no other. */
import { createFileRegistry, type DescService, fromBinary } from "@bufbuild/protobuf"
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt"
import { createClient } from "@connectrpc/connect"
import { createGrpcTransport } from "@connectrpc/connect-node"
import { type Connect, promised, promisedStreams } from "../client.ts"
import { file, type Message } from "../echo.ts"

interface Echo {
  readonly echo: (message: Message) => Promise<Message>
  readonly watch: (message: Message) => AsyncIterable<Message>
}

const open = (address: string): Echo => {
  const registry = createFileRegistry(fromBinary(FileDescriptorProtoSchema, file), () => undefined)
  const service: DescService = registry.getService("bench.Echo")!
  return createClient(service, createGrpcTransport({ baseUrl: `http://${address}` })) as unknown as Echo
}

export const connect: Connect = async (address) => {
  const client = open(address)
  return promised((message) => client.echo(message))
}

export const connectStreams: Connect = async (address) => {
  const client = open(address)
  return promisedStreams(async (message, read) => {
    for await (const _ of client.watch(message)) read()
  })
}
