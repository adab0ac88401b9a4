/**
 * The message sizes of a service config, which hold for one method and not for a connection.
 *
 * They are kept by the method's codecs, where the sizes are known. What a codec throws ends the call as `Internal`; that is
 * put right here, above it.
 */
import * as Redacted from "effect/Redacted"
import * as Channel from "./Channel.ts"
import type { Method } from "./Method.ts"
import * as RpcError from "./RpcError.ts"
import { ThrownError } from "./ThrownError.ts"
import type { MethodConfig } from "./ServiceConfigDecode.ts"

class TooLarge {
  readonly details: string
  constructor(what: string, bytes: number, key: string, limit: number) {
    this.details = `The ${what} has ${bytes} bytes, more than ${key} allows (${limit})`
  }
}

/** What holds for methods of which a config says nothing. */
export interface Sizes {
  readonly maxRequestBytes?: number | undefined
  readonly maxResponseBytes?: number | undefined
}

/** The same method, whose codecs refuse what is larger than its config allows, or else than `sizes` do. */
export const limited = <I, O>(method: Method<I, O>, config: MethodConfig, sizes: Sizes = {}): Method<I, O> => {
  const request = config.maxRequestBytes ?? sizes.maxRequestBytes ?? Infinity
  const response = config.maxResponseBytes ?? sizes.maxResponseBytes ?? Infinity
  const requestKey = config.maxRequestBytes === undefined ? "maxSendBytes" : "maxRequestMessageBytes"
  const responseKey = config.maxResponseBytes === undefined ? "maxReceiveBytes" : "maxResponseMessageBytes"
  return {
    ...method,
    encode: (value) => {
      const bytes = method.encode(value)
      if (bytes.length <= request) return bytes
      throw new TooLarge("request", bytes.length, requestKey, request)
    },
    decode: (bytes) => {
      if (bytes.length <= response) return method.decode(bytes)
      throw new TooLarge("response", bytes.length, responseKey, response)
    }
  }
}

/** The same channel, which says `ResourceExhausted` by `Us` of them. */
export const explained = <R>(
  self: Channel.Channel.With<RpcError.RpcError, R>
): Channel.Channel.With<RpcError.RpcError, R> =>
  Channel.mapError(self, (error) => {
    // A stream of requests fails with an error of its own.
    const thrown = RpcError.isRpcError(error) ? originalOf(error.cause) : undefined
    if (!(thrown instanceof TooLarge)) return error
    const reason = { _tag: "ResourceExhausted", details: thrown.details, by: "Us" } as const
    return RpcError.of(error.method, reason, error.progress, { ...error, cause: undefined })
  })

/** What a codec threw, as a connection tells it, or a channel of a test. */
const originalOf = (cause: unknown): unknown => (cause instanceof ThrownError ? Redacted.value(cause.original) : cause)
