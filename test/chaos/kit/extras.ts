/** Options of `Grpc.layer` that are values and no plain data, made of what the conductor says. */
import type { GrpcOptions } from "@hawser/grpc/GrpcOptions"
import type { ClientConfig } from "./messages.ts"

export const extras = (_config: ClientConfig): Partial<GrpcOptions> => ({})
