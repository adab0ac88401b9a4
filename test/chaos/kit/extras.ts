/** Options of `Grpc.layer` that are values and no plain data, made of what the conductor says. */
import { Keepalive } from "@hawser/grpc"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import type { ClientConfig } from "./messages.ts"

export const extras = ({ keepalive }: ClientConfig): Partial<GrpcOptions> => ({
  // The servers are ours: no time is too short for them.
  ...(keepalive === undefined ? {} : { keepalive: Keepalive.make({ ...keepalive, serverPermits: "anything" }) })
})
