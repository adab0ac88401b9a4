/**
 * The standard interop cases, from their public description: https://github.com/grpc/grpc, doc/interop-test-descriptions.md.
 *
 * A case passes by ending; it fails with whatever it throws. Where the description asks for the status CANCELLED, an
 * interrupt is meant: then nothing may stay in flight, and the connection must go on working.
 */
import type { Client, Grpc, Metadata, RpcError } from "@hawser/grpc"
import { Cause, Deferred, Effect, Exit, Fiber, Queue, Stream } from "effect"
import * as assert from "node:assert/strict"
import type { EchoStatus, OutputRequest, TestDefinition, UnimplementedDefinition, WithPayload } from "./definition.ts"

export interface Peer {
  readonly test: Client.Client<TestDefinition>
  readonly unimplemented: Client.Client<UnimplementedDefinition>
  readonly cluster: Grpc.GrpcCluster
}

type Case = (peer: Peer) => Effect.Effect<unknown, unknown>

const payload = (bytes: number) => ({ body: Buffer.alloc(bytes) })
const sizes = [31_415, 9, 2_653, 58_979]
const steps = [27_182, 8, 1_828, 45_904]
const large = { responseSize: 314_159, payload: payload(271_828) }
const output = (size: number, sent: number): OutputRequest => ({
  responseParameters: [{ size }],
  payload: payload(sent)
})

const isZeros = (message: WithPayload, bytes: number): void => {
  assert.equal(message.payload?.body.length, bytes)
  assert.ok(message.payload?.body.every((byte) => byte === 0))
}
const areZeros = (messages: ReadonlyArray<WithPayload>, bytes: ReadonlyArray<number>): void => {
  assert.equal(messages.length, bytes.length)
  messages.forEach((message, i) => isZeros(message, bytes[i]!))
}

const inFlight = ({ cluster }: Peer) => Effect.map(cluster.snapshot, (snapshot) => snapshot.root.inFlight)

/** Ends a running call by an interrupt: it is gone, and the next call goes over the connection that it had. */
const cancels = <A, E>(peer: Peer, fiber: Fiber.Fiber<A, E>, connection: string) =>
  Effect.gen(function* () {
    yield* Fiber.interrupt(fiber)
    const exit = yield* Fiber.await(fiber)
    assert.ok(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause), `ended as ${String(exit)}`)
    assert.equal(yield* inFlight(peer), 0)
    assert.equal((yield* peer.test.EmptyCall.reply({})).connection, connection)
  })

const statusComesBack = ({ test }: Peer, wanted: EchoStatus, alsoStream: boolean) =>
  Effect.gen(function* () {
    const calls = [
      Effect.asVoid(test.UnaryCall({ responseStatus: wanted })),
      ...(alsoStream ? [Stream.runDrain(test.FullDuplexCall(Stream.make({ responseStatus: wanted })))] : [])
    ]
    for (const call of calls) {
      const { code, progress, reason } = yield* Effect.flip(call)
      assert.deepEqual({ code, message: reason.details }, wanted)
      assert.equal(progress, "Answered")
    }
  })

const isUnimplemented = ({ code, progress }: RpcError.RpcError): void =>
  assert.deepEqual({ code, progress }, { code: 12, progress: "Answered" })

const initialKey = "x-grpc-test-echo-initial"
const trailingKey = "x-grpc-test-echo-trailing-bin"
const metadata = { [initialKey]: "test_initial_metadata_value", [trailingKey]: Uint8Array.of(0xab, 0xab, 0xab) }

const isEchoed = (headers: Metadata.Metadata, trailers: Metadata.Metadata): void => {
  assert.equal(headers.get(initialKey), metadata[initialKey])
  const bytes = trailers.get(trailingKey)
  assert.ok(bytes instanceof Uint8Array)
  assert.deepEqual([...bytes], [0xab, 0xab, 0xab])
}

export const cases = {
  empty_unary: ({ test }) => Effect.map(test.EmptyCall({}), (empty) => assert.deepEqual({ ...empty }, {})),

  large_unary: ({ test }) => Effect.map(test.UnaryCall(large), (message) => isZeros(message, 314_159)),

  client_streaming: ({ test }) =>
    Effect.map(
      test.StreamingInputCall(Stream.fromIterable(steps.map((bytes) => ({ payload: payload(bytes) })))),
      (answer) => assert.equal(answer.aggregatedPayloadSize, 74_922)
    ),

  server_streaming: ({ test }) =>
    test.StreamingOutputCall({ responseParameters: sizes.map((size) => ({ size })) }).pipe(
      Stream.runCollect,
      Effect.map((messages) => areZeros(messages, sizes))
    ),

  ping_pong: ({ test }) =>
    Effect.gen(function* () {
      const requests = yield* Queue.unbounded<OutputRequest, Cause.Done>()
      const sent: Array<number> = []
      const next = Effect.suspend(() => {
        const i = sent.push(sent.length) - 1
        return i < sizes.length ? Queue.offer(requests, output(sizes[i]!, steps[i]!)) : Queue.end(requests)
      })
      yield* next
      const messages = yield* test.FullDuplexCall(Stream.fromQueue(requests)).pipe(
        Stream.tap(() => next),
        Stream.runCollect
      )
      areZeros(messages, sizes)
    }),

  empty_stream: ({ test }) =>
    Effect.map(Stream.runCollect(test.FullDuplexCall(Stream.empty)), (messages) => areZeros(messages, [])),

  custom_metadata: ({ test }) =>
    Effect.gen(function* () {
      const reply = yield* test.UnaryCall.reply(large, { metadata })
      isZeros(reply.message, 314_159)
      isEchoed(reply.headers, reply.trailers)
      const replies = yield* test.FullDuplexCall.replies(Stream.make(output(314_159, 271_828)), { metadata })
      areZeros(yield* Stream.runCollect(replies.messages), [314_159])
      isEchoed(replies.headers, yield* replies.trailers)
    }).pipe(Effect.scoped),

  status_code_and_message: (peer) => statusComesBack(peer, { code: 2, message: "test status message" }, true),

  special_status_message: (peer) =>
    statusComesBack(
      peer,
      { code: 2, message: "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n" },
      false
    ),

  unimplemented_method: ({ test }) => Effect.map(Effect.flip(test.UnimplementedCall({})), isUnimplemented),

  unimplemented_service: ({ unimplemented }) =>
    Effect.map(Effect.flip(unimplemented.UnimplementedCall({})), isUnimplemented),

  cancel_after_begin: (peer) =>
    Effect.gen(function* () {
      yield* peer.test.EmptyCall({})
      const fiber = yield* Effect.forkChild(peer.test.StreamingInputCall(Stream.never), { startImmediately: true })
      // An answer on the same connection: the headers, which went before it, have reached the server.
      const { connection } = yield* peer.test.EmptyCall.reply({})
      assert.equal(yield* inFlight(peer), 1)
      yield* cancels(peer, fiber, connection)
    }),

  cancel_after_first_response: (peer) =>
    Effect.gen(function* () {
      const first = yield* Deferred.make<string>()
      const requests = Stream.concat(Stream.make(output(31_415, 27_182)), Stream.never)
      const call = Effect.gen(function* () {
        const { connection, messages } = yield* peer.test.FullDuplexCall.replies(requests)
        yield* Stream.runForEach(messages, (message) => {
          isZeros(message, 31_415)
          return Deferred.succeed(first, connection)
        })
      })
      const fiber = yield* Effect.forkChild(Effect.scoped(call))
      const connection = yield* Effect.raceFirst(
        Deferred.await(first),
        Effect.flatMap(Fiber.join(fiber), () => Effect.die("the call ended before its first response"))
      )
      assert.equal(yield* inFlight(peer), 1)
      yield* cancels(peer, fiber, connection)
    }),

  timeout_on_sleeping_server: (peer) =>
    Effect.gen(function* () {
      const { connection } = yield* peer.test.EmptyCall.reply({})
      const requests = Stream.concat(Stream.make({ payload: payload(27_182) }), Stream.never)
      const call = Stream.runDrain(peer.test.FullDuplexCall(requests, { timeout: "1 millis" }))
      assert.equal((yield* Effect.flip(call)).reason._tag, "DeadlineExceeded")
      assert.equal(yield* inFlight(peer), 0)
      assert.equal((yield* peer.test.EmptyCall.reply({})).connection, connection)
    })
} as const satisfies Readonly<Record<string, Case>>

export type CaseName = keyof typeof cases
