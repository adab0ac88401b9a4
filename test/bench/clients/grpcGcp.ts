/** grpc-gcp with the pool that it makes by default: a channel more when 100 calls run on each, ten at most. */
import * as grpc from "@grpc/grpc-js"
import extend from "grpc-gcp"
import { type Connect, promised } from "../client.ts"
import { unary } from "./raw.ts"

export const connect: Connect = async (address) => {
  const gcp = extend(grpc)
  return promised(
    unary(address, {
      channelFactoryOverride: gcp.gcpChannelFactoryOverride,
      callInvocationTransformer: gcp.gcpCallInvocationTransformer,
      gcpApiConfig: gcp.createGcpApiConfig({})
    })
  )
}
