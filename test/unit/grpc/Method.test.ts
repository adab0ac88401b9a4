import { assert, describe, it } from "@effect/vitest"
import { Method } from "@hawser/grpc"
import * as protoLoader from "@grpc/proto-loader"
import { join } from "node:path"
import { EchoService } from "../../generated/echo.ts"

const definition = {
  path: "/demo.Greeter/SayHello",
  requestStream: false,
  responseStream: false,
  requestSerialize: (value: string) => Buffer.from(value),
  responseDeserialize: (bytes: Buffer) => bytes.toString("utf8")
} as const

describe("Method", () => {
  it.each([
    [false, false, "unary"],
    [false, true, "serverStreaming"],
    [true, false, "clientStreaming"],
    [true, true, "bidiStreaming"]
  ] as const)("with request stream %s and response stream %s is %s", (requestStream, responseStream, kind) => {
    assert.strictEqual(Method.fromDefinition({ ...definition, requestStream, responseStream }).kind, kind)
  })

  it("hands generated code a Buffer, over the same memory", () => {
    const method = Method.fromDefinition({ ...definition, responseDeserialize: (bytes) => bytes })
    const whole = new Uint8Array([0, 1, 2, 3])
    const part = method.decode(whole.subarray(1, 3))
    assert.isTrue(Buffer.isBuffer(part))
    assert.deepStrictEqual([...part], [1, 2])
    assert.strictEqual(part.buffer, whole.buffer)
    const buffer = Buffer.from("x")
    assert.strictEqual(method.decode(buffer), buffer)
  })

  it.each([
    ["IDEMPOTENT", "Idempotent"],
    ["NO_SIDE_EFFECTS", "NoSideEffects"],
    ["IDEMPOTENCY_UNKNOWN", "Unknown"],
    ["constructor", "Unknown"],
    [undefined, "Unknown"]
  ] as const)("with idempotency_level %s is %s", (idempotency_level, expected) => {
    assert.strictEqual(Method.fromDefinition({ ...definition, options: { idempotency_level } }).idempotency, expected)
  })

  it("is as idempotent as its caller says", () => {
    assert.strictEqual(Method.fromDefinition(definition).idempotency, "Unknown")
    assert.strictEqual(Method.fromDefinition(definition, "Idempotent").idempotency, "Idempotent")
  })

  it("reads what ts-proto emits", () => {
    const method = Method.fromDefinition(EchoService.echo)
    assert.strictEqual(method.path, "/hawser.test.v1.Echo/Echo")
    const bytes = method.encode({ id: "1", payload: Buffer.from("x"), delayMillis: 0, failCode: 0 })
    assert.strictEqual(EchoService.echo.requestDeserialize(Buffer.from(bytes)).id, "1")
  })

  it("reads what proto-loader emits, idempotency included", () => {
    const all = protoLoader.loadSync(join(import.meta.dirname, "../../proto/echo.proto"), { keepCase: false })
    const service = all["hawser.test.v1.Echo"] as protoLoader.ServiceDefinition
    const echo = Method.fromDefinition(service["Echo"]!)
    assert.strictEqual(echo.path, "/hawser.test.v1.Echo/Echo")
    assert.strictEqual(echo.idempotency, "Idempotent")
    assert.strictEqual(Method.fromDefinition(service["Put"]!).idempotency, "Unknown")
    assert.deepStrictEqual(
      Object.values(service)
        .map((one) => Method.kindOf(one))
        .sort(),
      ["bidiStreaming", "clientStreaming", "serverStreaming", "unary", "unary"]
    )
    const bytes = echo.encode({ id: "7" })
    assert.deepInclude(service["Echo"]!.requestDeserialize(Buffer.from(bytes)), { id: "7" })
  })
})
