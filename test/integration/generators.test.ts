import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import * as protoLoader from "@grpc/proto-loader"
import { Channel, Client, Credentials, Grpc, type GrpcOptions, Method, Retry, type RpcError } from "@hawser/grpc"
import * as GenericDefinition from "@hawser/grpc/GenericDefinition"
import * as ProtobufEs from "@hawser/grpc/ProtobufEs"
import * as ProtobufTs from "@hawser/grpc/ProtobufTs"
import { TestChannel } from "@hawser/testing"
import { Effect, Layer, Schedule, type Scope, Stream } from "effect"
import { fileURLToPath } from "node:url"
import type * as proto from "../generated/echo.ts"
import { EchoService } from "../generated/echo.ts"
import { EchoDefinition } from "../generated/generic-definitions/echo.ts"
import type { ProtoGrpcType } from "../generated/proto-loader/echo.ts"
import type { EchoHandlers } from "../generated/proto-loader/hawser/test/v1/Echo.ts"
import * as es from "../generated/protobuf-es/echo_pb.ts"
import type { IEchoClient } from "../generated/protobuf-ts/echo.client.ts"
import * as ts from "../generated/protobuf-ts/echo.ts"
import * as EchoServer from "../support/grpc/EchoServer.ts"
import { leavesNothing } from "../support/grpc/eventually.ts"
import * as StreamServer from "../support/grpc/StreamServer.ts"

const esService = ProtobufEs.definition(es.Echo)
const genericService = GenericDefinition.definition(EchoDefinition)
const tsService = ProtobufTs.definition<IEchoClient>()(ts.Echo)

const file = fileURLToPath(new URL("../proto/echo.proto", import.meta.url))
// `defaults` as `proto-loader-gen-types` was told: else fields that have their default are absent.
const definitions = protoLoader.loadSync(file, { defaults: true })
const loaded = grpc.loadPackageDefinition(definitions) as unknown as ProtoGrpcType
const loadedService = Method.withKinds<EchoHandlers>()(loaded.hawser.test.v1.Echo.service)

/** What a program that has no generated types says of the service. */
interface Untyped {
  readonly Echo: Method.Definition<Fields, proto.EchoReply, false, false>
  readonly Put: Method.Definition<Omit<Fields, "payload">, proto.PutReply, false, false>
  readonly Watch: Method.Definition<Fields & { readonly count: number }, proto.WatchReply, false, true>
  readonly Upload: Method.Definition<Pick<Line, "payload">, proto.UploadReply, true, false>
  readonly Chat: Method.Definition<Line, proto.ChatReply, true, true>
}
const untypedService = definitions["hawser.test.v1.Echo"] as unknown as Untyped

/** What the clients of all of them have in common. */
interface Echo {
  echo(request: Fields): Effect.Effect<Payload & { readonly server: string }, RpcError.RpcError>
  put(request: Omit<Fields, "payload">): Effect.Effect<{ readonly server: string }, RpcError.RpcError>
  watch(
    request: Fields & { readonly count: number }
  ): Stream.Stream<Payload & { readonly index: number }, RpcError.RpcError>
  upload(
    chunks: Stream.Stream<Pick<Line, "payload">>
  ): Effect.Effect<{ readonly messages: number; readonly bytes: number }, RpcError.RpcError>
  chat(lines: Stream.Stream<Line>): Stream.Stream<{ readonly id: string; readonly server: string }, RpcError.RpcError>
}
interface Payload {
  readonly payload: Uint8Array
}
interface Line {
  readonly id: string
  readonly payload: Buffer
}
interface Fields extends Line {
  readonly delayMillis: number
  readonly failCode: number
}

/** proto-loader's names are those of the proto file. */
const renamed = (client: {
  readonly Echo: Echo["echo"]
  readonly Put: Echo["put"]
  readonly Watch: Echo["watch"]
  readonly Upload: Echo["upload"]
  readonly Chat: Echo["chat"]
}): Echo => ({ echo: client.Echo, put: client.Put, watch: client.Watch, upload: client.Upload, chat: client.Chat })

interface Generator {
  readonly service: object
  readonly make: (channel: Channel.Channel) => Echo
  /** What its code says of `echo`. */
  readonly idempotency: Method.Idempotency
}

const generators: Readonly<Record<string, Generator>> = {
  "ts-proto's grpc-js definitions": {
    service: EchoService,
    make: (channel) => Client.make(EchoService, channel, { idempotent: ["echo"] }),
    idempotency: "Unknown"
  },
  "proto-loader with generated types": {
    service: loadedService,
    make: (channel) => renamed(Client.make(loadedService, channel)),
    idempotency: "Idempotent"
  },
  "proto-loader without types": {
    service: untypedService,
    make: (channel) => renamed(Client.make(untypedService, channel)),
    idempotency: "Idempotent"
  },
  "Protobuf-ES": {
    service: esService,
    make: (channel) => Client.make(esService, channel),
    idempotency: "Idempotent"
  },
  "ts-proto's generic definitions": {
    service: genericService,
    make: (channel) => Client.make(genericService, channel),
    idempotency: "Idempotent"
  },
  "protobuf-ts": { service: tsService, make: (channel) => Client.make(tsService, channel), idempotency: "Idempotent" }
}

const request = (id: string) => ({ id, payload: Buffer.from("bytes"), delayMillis: 0, failCode: 0 })

const channelTo = (
  server: { readonly address: string },
  retry: GrpcOptions.GrpcOptions["retry"] = false
): Effect.Effect<Channel.Channel, never, Scope.Scope> =>
  Layer.build(
    Grpc.layer({
      target: `ipv4:${server.address}`,
      credentials: Credentials.insecure,
      retry
    })
  ).pipe(
    Effect.flatMap((context) => Effect.provide(Channel.Channel, context)),
    Effect.orDie
  )

describe.each(Object.entries(generators))("a service of %s", (_, { idempotency, make, service }) => {
  it.live("answers calls of all four kinds", () =>
    leavesNothing(
      Effect.gen(function* () {
        const [echoes, streams] = [yield* EchoServer.make({ name: "one" }), yield* StreamServer.make("many")]
        const one = make(yield* channelTo(echoes))
        const many = make(yield* channelTo(streams))

        const reply = yield* one.echo(request("a"))
        assert.strictEqual(reply.server, "one")
        assert.strictEqual(Buffer.from(reply.payload).toString(), "bytes")

        const watched = yield* Stream.runCollect(many.watch({ ...request("w"), count: 3 }))
        assert.deepStrictEqual(
          watched.map(({ index, payload }) => [index, Buffer.from(payload).toString()]),
          [0, 1, 2].map((index) => [index, "bytes"])
        )

        const uploaded = yield* many.upload(Stream.make(...[3, 4].map((n) => ({ payload: Buffer.alloc(n) }))))
        assert.deepStrictEqual([uploaded.messages, uploaded.bytes], [2, 7])

        const lines = ["x", "y"].map((id) => ({ id, payload: Buffer.alloc(0) }))
        const chatted = yield* Stream.runCollect(many.chat(Stream.fromIterable(lines)))
        assert.deepStrictEqual(
          chatted.map(({ id, server }) => [id, server]),
          [
            ["x", "many"],
            ["y", "many"]
          ]
        )
      })
    )
  )

  it.live("is sent again where the proto file or the program says that it may be, and only there", () =>
    leavesNothing(
      Effect.gen(function* () {
        // Lost after it was started: only its idempotency tells whether to send it again.
        const server = yield* EchoServer.make({
          behaviour: (call) => (server.calls.length % 2 === 1 ? call.fail(14, "lost") : call.answer())
        })
        const echo = make(yield* channelTo(server, Retry.make({ schedule: Schedule.recurs(2) })))
        yield* echo.echo(request("a"))
        assert.deepStrictEqual(
          server.calls.map((call) => call.method),
          ["echo", "echo"]
        )
        const error = yield* Effect.flip(echo.put({ id: "b", delayMillis: 0, failCode: 0 }))
        assert.strictEqual(error.reason._tag, "Unavailable")
        assert.strictEqual(server.calls.length, 3)
      })
    )
  )

  it("has path and kind of every method, and the idempotency that is generated", () => {
    const methods = Object.values(service).map((one: Method.Definition<never, unknown>) => Method.fromDefinition(one))
    assert.deepStrictEqual(
      methods.map(({ idempotency, kind, path }) => [path, kind, idempotency]),
      [
        ["/hawser.test.v1.Echo/Echo", "unary", idempotency],
        ["/hawser.test.v1.Echo/Put", "unary", "Unknown"],
        ["/hawser.test.v1.Echo/Watch", "serverStreaming", "Unknown"],
        ["/hawser.test.v1.Echo/Upload", "clientStreaming", "Unknown"],
        ["/hawser.test.v1.Echo/Chat", "bidiStreaming", "Unknown"]
      ]
    )
  })
})

describe("what a generator promises of its messages", () => {
  it.effect("Protobuf-ES: requests may leave fields out, bytes are plain, answers are messages", () =>
    Effect.gen(function* () {
      const echo = Client.make(esService, yield* Channel.Channel)
      const reply = yield* echo.echo({ payload: Buffer.from("bytes") })
      assert.strictEqual(reply.$typeName, "hawser.test.v1.EchoReply")
      assert.deepStrictEqual(reply.payload, new TextEncoder().encode("bytes"))
      assert.isFalse(Buffer.isBuffer(reply.payload))
      assert.strictEqual(reply.server, "hawser.test.v1.EchoRequest")
    }).pipe(
      Effect.provide(
        TestChannel.layerService(esService, {
          echo: ({ $typeName, payload }) => Effect.succeed({ payload, server: $typeName })
        })
      )
    )
  )

  it.effect("generic definitions: requests and answers may leave fields out", () =>
    Effect.gen(function* () {
      const echo = Client.make(genericService, yield* Channel.Channel)
      const reply = yield* echo.echo({ id: "a" })
      assert.deepStrictEqual(reply, { id: "a", payload: Buffer.alloc(0), server: "0 ms" })
    }).pipe(
      Effect.provide(
        TestChannel.layerService(genericService, {
          echo: ({ delayMillis, id }) => Effect.succeed({ id, server: `${delayMillis} ms` })
        })
      )
    )
  )

  it.effect("protobuf-ts: bytes are plain", () =>
    Effect.gen(function* () {
      const echo = Client.make(tsService, yield* Channel.Channel)
      const reply = yield* echo.echo(ts.EchoRequest.create({ payload: Buffer.from("bytes") }))
      assert.deepStrictEqual(reply.payload, new TextEncoder().encode("bytes"))
      assert.isFalse(Buffer.isBuffer(reply.payload))
    }).pipe(
      Effect.provide(
        TestChannel.layerService(tsService, {
          echo: ({ id, payload }) => Effect.succeed({ id, payload, server: "s" })
        })
      )
    )
  )

  it.live("a definition fits a grpc-js server, too", () =>
    leavesNothing(
      Effect.gen(function* () {
        const server = yield* Effect.acquireRelease(
          Effect.sync(() => new grpc.Server()),
          (server) => Effect.sync(() => server.forceShutdown())
        )
        const upper: grpc.handleUnaryCall<es.EchoRequest, es.EchoReply> = ({ request }, reply) =>
          reply(null, { ...request, $typeName: "hawser.test.v1.EchoReply", server: request.id.toUpperCase() })
        server.addService({ echo: esService.echo }, { echo: upper })
        const port = yield* Effect.callback<number>((resume) =>
          server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
            resume(error === null ? Effect.succeed(port) : Effect.die(error))
          )
        )
        const echo = Client.make(tsService, yield* channelTo({ address: `127.0.0.1:${port}` }))
        const reply = yield* echo.echo(ts.EchoRequest.create({ id: "ada" }))
        assert.strictEqual(reply.server, "ADA")
      })
    )
  )
})
