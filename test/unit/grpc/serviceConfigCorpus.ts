/**
 * Service configs that are in order, with where it is written that they are, and such as are not, with what is to be said
 * of them.
 *
 * Sources: gRFCs A2, A6, A10, A17, A21, A24, A42, A48, A58 and A62 (grpc/proposal), `service_config.proto` (grpc/grpc-proto), and the parsers of
 * grpc-go (`service_config.go`, `internal/serviceconfig`) and grpc-java (`ServiceConfigUtil`, `ManagedChannelServiceConfig`,
 * `JsonUtil`) with their tests.
 */
import * as Whole from "./serviceConfigWhole.ts"
import * as Names from "./serviceConfigNames.ts"
import * as Calls from "./serviceConfigCalls.ts"
import * as Policies from "./serviceConfigPolicies.ts"
import * as Target from "./serviceConfigTarget.ts"
import * as Balancing from "./serviceConfigBalancing.ts"

/** In order. */
export const valid = [...Names.valid, ...Calls.valid, ...Policies.valid, ...Target.valid, ...Balancing.valid]

/** Not in order. */
export const invalid = [
  ...Whole.invalid,
  ...Names.invalid,
  ...Calls.invalid,
  ...Policies.invalid,
  ...Target.invalid,
  ...Balancing.invalid
]
