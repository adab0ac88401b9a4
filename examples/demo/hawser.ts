/** Child: the load through one plain grpc-js client, as its documentation has it, with round_robin over the addresses. */
import * as grpc from "@grpc/grpc-js"
import { deadlineMillis, EchoDefinition } from "./echo.ts"
import type { EchoReply, EchoRequest } from "./echo.ts"
import { play } from "./load.ts"
import type { ClientConfig } from "./messages.ts"

const { addresses, rps } = JSON.parse(process.argv[2]!) as ClientConfig

const client = new grpc.Client(`ipv4:${addresses.join(",")}`, grpc.credentials.createInsecure(), {
  "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] })
})
const { path, requestSerialize, responseDeserialize } = EchoDefinition.echo
const request: EchoRequest = { client: "hawser", text: "hello" }

client.waitForReady(Date.now() + 10_000, (error) => {
  if (error !== undefined && error !== null) throw error
  play({
    rps,
    call: (end) => {
      client.makeUnaryRequest<EchoRequest, EchoReply>(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        { deadline: Date.now() + deadlineMillis },
        (failure, reply) =>
          end(
            reply === undefined
              ? {
                  tag: "failed",
                  why: failure === null ? "no reply" : (grpc.status[failure.code] ?? String(failure.code))
                }
              : { tag: "answered", server: reply.server }
          )
      )
    }
  })
})
