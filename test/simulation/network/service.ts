/** The service of the simulation: handlers do what the request says, and count who called. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Route from "@hawser/testing/Route"

/** What a call asks of its handler. */
export interface Ask {
  readonly id: number
  readonly millis: number
  readonly messages: number
}

/** What a handler answers: whose call it was, and the how-manieth message. */
export interface Told {
  readonly id: number
  readonly nth: number
}

const json = {
  serialize: (value: unknown): Buffer => Buffer.from(JSON.stringify(value)),
  ask: (bytes: Buffer): Ask => JSON.parse(bytes.toString()) as Ask,
  told: (bytes: Buffer): Told => JSON.parse(bytes.toString()) as Told
}

const method = <Req extends boolean, Res extends boolean>(
  name: string,
  requestStream: Req,
  responseStream: Res,
  idempotent: boolean
) => ({
  path: `/sim.Test/${name}`,
  requestStream,
  responseStream,
  requestSerialize: (ask: Ask): Buffer => json.serialize(ask),
  requestDeserialize: json.ask,
  responseSerialize: (told: Told): Buffer => json.serialize(told),
  responseDeserialize: json.told,
  options: idempotent ? ({ idempotency_level: "IDEMPOTENT" } as const) : {}
})

/** What is asked for its health. */
export const service = "sim.Test"

/** Each kind twice: `1` may be sent again, `0` may not. */
export const definition = {
  unary1: method("Unary1", false, false, true),
  unary0: method("Unary0", false, false, false),
  serverStreaming1: method("ServerStreaming1", false, true, true),
  serverStreaming0: method("ServerStreaming0", false, true, false),
  clientStreaming1: method("ClientStreaming1", true, false, true),
  clientStreaming0: method("ClientStreaming0", true, false, false),
  bidiStreaming1: method("BidiStreaming1", true, true, true),
  bidiStreaming0: method("BidiStreaming0", true, true, false)
} as const

/** The routes of a server. `began` is told whenever a handler starts on a call. */
export const routes = (began: (id: number) => void): Route.Routes => {
  const unary = (ask: Ask) =>
    Effect.suspend(() => {
      began(ask.id)
      return Effect.as(Effect.sleep(ask.millis), { id: ask.id, nth: 0 })
    })
  const serverStreaming = (ask: Ask) =>
    Stream.suspend(() => {
      began(ask.id)
      return Stream.range(1, ask.messages).pipe(
        Stream.mapEffect((nth) => Effect.as(Effect.sleep(ask.millis / 8), { id: ask.id, nth }))
      )
    })
  const clientStreaming = (asks: Stream.Stream<Ask>) =>
    Effect.suspend(() => {
      let last: Ask | undefined
      let nth = 0
      return Stream.runForEach(asks, (ask) =>
        Effect.sync(() => {
          if (nth++ === 0) began(ask.id)
          last = ask
        })
      ).pipe(
        Effect.andThen(Effect.suspend(() => Effect.sleep(last?.millis ?? 0))),
        Effect.map(() => ({ id: last?.id ?? 0, nth }))
      )
    })
  const bidiStreaming = (asks: Stream.Stream<Ask>) =>
    Stream.mapEffect(asks, (ask) => {
      if (ask.messages === 1) began(ask.id)
      return Effect.as(Effect.sleep(ask.millis / 8), { id: ask.id, nth: ask.messages })
    })
  return Route.ofService(definition, {
    unary1: unary,
    unary0: unary,
    serverStreaming1: serverStreaming,
    serverStreaming0: serverStreaming,
    clientStreaming1: clientStreaming,
    clientStreaming0: clientStreaming,
    bidiStreaming1: bidiStreaming,
    bidiStreaming0: bidiStreaming
  })
}
