/**
 * Connections that do nothing: as channels of grpc-js, and as members of one cluster of Hawser.
 */
import * as grpc from "@grpc/grpc-js"
import * as Credentials from "@hawser/grpc/Credentials"
import * as Grpc from "@hawser/grpc/Grpc"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import type { Open } from "./heap.ts"

type Kind = (addresses: ReadonlyArray<string>) => Open

/** As Hawser makes channels: a socket of its own, and nothing that is not needed. */
const lean: grpc.ChannelOptions = {
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_retries": 0,
  "grpc.per_rpc_retry_buffer_size": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.enable_http_proxy": 0,
  "grpc.enable_channelz": 0,
  "grpc.client_idle_timeout_ms": 2_147_483_647,
  "grpc.max_receive_message_length": 4 << 20,
  "grpc.max_send_message_length": -1
}

const ready = (channel: grpc.Channel): Promise<void> =>
  new Promise((resolve, reject) => {
    const look = (): void => {
      const state = channel.getConnectivityState(true)
      if (state === grpc.connectivityState.READY) return resolve()
      channel.watchConnectivityState(state, Date.now() + 10_000, (error) =>
        error === undefined ? look() : reject(error)
      )
    }
    look()
  })

const channels =
  (options: grpc.ChannelOptions): Kind =>
  (addresses) =>
  async () => {
    const all = addresses.map(
      (address) => new grpc.Channel(`ipv4:${address}`, grpc.credentials.createInsecure(), options)
    )
    await Promise.all(all.map(ready))
    return {
      close: async () => {
        for (const channel of all) channel.close()
      }
    }
  }

export const leanChannels: Kind = channels(lean)

/** With nothing configured. */
export const plainChannels: Kind = channels({ "grpc.use_local_subchannel_pool": 1 })

export const members: Kind = (addresses) => async () => {
  const layer = Grpc.layer({ target: `ipv4:${addresses.join(",")}`, credentials: Credentials.insecure })
  const runtime = ManagedRuntime.make(layer)
  await runtime.runPromise(Effect.flatMap(Grpc.GrpcCluster, (cluster) => cluster.awaitReady(addresses.length)))
  return { close: () => runtime.dispose() }
}
