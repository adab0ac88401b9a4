/** Options of `Grpc.layer` that are values and no plain data, made of what the conductor says. */
import { Outlier } from "@hawser/core"
import { HealthCheck, Keepalive } from "@hawser/grpc"
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import type { ClientConfig } from "./messages.ts"

export const extras = ({ health, keepalive, outlier }: ClientConfig): Partial<GrpcOptions> => ({
  // The servers are ours: no time is too short for them.
  ...(keepalive === undefined ? {} : { keepalive: Keepalive.make({ ...keepalive, serverPermits: "anything" }) }),
  ...(health === undefined ? {} : { health: HealthCheck.watch(health.watch, { within: "1 second" }) }),
  ...(outlier === undefined ? {} : { outlier: Outlier.make(outlier) })
})
