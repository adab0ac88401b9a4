/**
 * What the channel of one dial is made with: everything that grpc-js would do behind one's back is switched off.
 */
import * as grpc from "@grpc/grpc-js"
import type { Endpoint } from "@hawser/core/Endpoint"
import { isIP } from "node:net"
import type { TransportOptions } from "./Connection.ts"
import * as Credentials from "./Credentials.ts"

/** The options of the channel to an endpoint. `pings`: grpc-js sends them itself. */
export const channelOptions = (
  endpoint: Endpoint,
  options: TransportOptions,
  pings: boolean,
  extra: grpc.ChannelOptions
): grpc.ChannelOptions => {
  const authority = endpoint.authority ?? options.authority
  const keepalive = pings ? options.keepalive : undefined
  return {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_retries": 0,
    "grpc.per_rpc_retry_buffer_size": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc.enable_http_proxy": 0,
    "grpc.enable_channelz": 0,
    "grpc.client_idle_timeout_ms": 2_147_483_647,
    "grpc.max_receive_message_length": options.maxReceiveBytes,
    "grpc.max_send_message_length": -1,
    "grpc.primary_user_agent": options.userAgent,
    "grpc.default_authority": authority,
    ...(options.compression === undefined
      ? {}
      : { "grpc.default_compression_algorithm": grpc.compressionAlgorithms[options.compression] }),
    ...(keepalive === undefined
      ? {}
      : {
          "grpc.keepalive_time_ms": keepalive.timeMillis,
          "grpc.keepalive_timeout_ms": keepalive.timeoutMillis,
          // grpc-js does not take `true`.
          "grpc.keepalive_permit_without_calls": keepalive.withoutCalls ? 1 : 0
        }),
    ...(options.flowControlWindow === undefined ? {} : { "grpc-node.flow_control_window": options.flowControlWindow }),
    ...(Credentials.isInsecure(options.credentials) ? {} : { "grpc.ssl_target_name_override": hostOf(authority) }),
    ...extra
  }
}

/** What a certificate must carry: an authority without its port, an IPv6 address without its brackets. */
const hostOf = (authority: string): string =>
  isIP(authority) !== 0 ? authority : authority.replace(/:\d*$/, "").replace(/^\[(.*)\]$/, "$1")
