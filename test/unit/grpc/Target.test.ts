import { assert, describe, it } from "@effect/vitest"
import { Target } from "@hawser/grpc"
import { Result } from "effect"

const addresses = (name: string): ReadonlyArray<ReadonlyArray<string>> =>
  Result.getOrThrow(Target.parse(name)).endpoints.map((endpoint) => endpoint.addresses)

const issues = (name: string) => {
  const parsed = Target.parse(name)
  return Result.isFailure(parsed) ? parsed.failure : []
}

describe("Target", () => {
  it.each<readonly [name: string, authority: string, ...endpoints: ReadonlyArray<string>]>([
    ["ipv4:10.0.0.1:50051", "10.0.0.1:50051", "10.0.0.1:50051"],
    ["ipv4:10.0.0.1:50051,10.0.0.2", "10.0.0.1:50051", "10.0.0.1:50051", "10.0.0.2:443"],
    ["ipv4:10.0.0.1:1,10.0.0.1:2", "10.0.0.1:1", "10.0.0.1:1", "10.0.0.1:2"],
    ["ipv6:[::1]:50051,[2001:db8::2]", "[::1]:50051", "[::1]:50051", "[2001:db8::2]:443"],
    ["ipv6:::1", "::1", "[::1]:443"],
    ["ipv6:[fe80::1%eth0]:50051", "[fe80::1%eth0]:50051", "[fe80::1%eth0]:50051"],
    ["dns:///greeter:50051", "greeter:50051", "greeter:50051"],
    [
      "dns:///greeter.demo.svc.cluster.local.:50051",
      "greeter.demo.svc.cluster.local.:50051",
      "greeter.demo.svc.cluster.local.:50051"
    ],
    ["dns:greeter:50051", "greeter:50051", "greeter:50051"],
    ["dns:///greeter", "greeter", "greeter:443"],
    ["dns:///10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:80"],
    ["greeter", "greeter", "greeter:443"],
    ["greeter:50051", "greeter:50051", "greeter:50051"],
    ["my_service-1:1", "my_service-1:1", "my_service-1:1"],
    ["localhost:65535", "localhost:65535", "localhost:65535"],
    ["10.0.0.1:50051", "10.0.0.1:50051", "10.0.0.1:50051"],
    ["[::1]:50051", "[::1]:50051", "[::1]:50051"],
    ["[::1]", "[::1]", "[::1]:443"],
    ["::1", "::1", "[::1]:443"],
    ["unix:/run/greeter.sock", "localhost", "unix:/run/greeter.sock"],
    ["unix:///run/greeter.sock", "localhost", "unix:/run/greeter.sock"],
    ["unix:greeter.sock", "localhost", "unix:greeter.sock"]
  ])("reads %s", (name, authority, ...endpoints) => {
    const target = Result.getOrThrow(Target.parse(name))
    assert.strictEqual(target.name, name)
    assert.strictEqual(target.authority, authority)
    assert.deepStrictEqual(
      addresses(name),
      endpoints.map((address) => [address])
    )
    for (const endpoint of target.endpoints) assert.strictEqual(endpoint.authority, undefined)
  })

  it.each<readonly [name: string, question: unknown]>([
    ["greeter:1", { _tag: "Host", host: "greeter", port: 1, server: undefined }],
    ["dns:///greeter", { _tag: "Host", host: "greeter", port: 443, server: undefined }],
    ["dns://8.8.8.8/greeter:1", { _tag: "Host", host: "greeter", port: 1, server: "8.8.8.8" }],
    ["dns://[::1]:5353/greeter:1", { _tag: "Host", host: "greeter", port: 1, server: "[::1]:5353" }],
    ["_grpc._tcp.greeter", { _tag: "Service", service: "_grpc._tcp.greeter", server: undefined }],
    ["dns://8.8.8.8/_grpc._tcp.greeter", { _tag: "Service", service: "_grpc._tcp.greeter", server: "8.8.8.8" }],
    ["_grpc._tcp.greeter:1", { _tag: "Host", host: "_grpc._tcp.greeter", port: 1, server: undefined }],
    ["_my_service.default", { _tag: "Host", host: "_my_service.default", port: 443, server: undefined }],
    ["10.0.0.1:1", undefined],
    ["dns:///[::1]:1", undefined],
    ["ipv4:10.0.0.1", undefined],
    ["unix:/run/greeter.sock", undefined]
  ])("asks DNS for what %s says", (name, question) => {
    assert.deepStrictEqual(Result.getOrThrow(Target.parse(name)).question, question)
  })

  it("asks servers of a service for the service", () => {
    assert.strictEqual(Result.getOrThrow(Target.parse("dns:///_grpc._tcp.greeter.demo")).authority, "greeter.demo")
  })

  it.each([
    ["", /without blanks/],
    [" greeter", /without blanks/],
    ["greeter:50051 ", /without blanks/],
    ["ipv4:10.0.0.1, 10.0.0.2", /without blanks/],
    ["xds:///greeter", /xds: is not supported yet/],
    ["unix:", /a path of 1 to 107 bytes/],
    ["unix://host/run/greeter.sock", /a path of 1 to 107 bytes/],
    [`unix:/${"x".repeat(107)}`, /a path of 1 to 107 bytes/],
    ["unix-abstract:greeter", /unix-abstract: is not supported yet/],
    ["vsock:2:1234", /vsock: is not supported yet/],
    ["http://greeter:80", /one of ipv4:/],
    ["https://greeter", /one of ipv4:/],
    ["DNS:///greeter", /one of ipv4:/],
    ["dns://dns.google/greeter:50051", /IP:PORT, of a name server/],
    ["dns://8.8.8.8:0/greeter:50051", /IP:PORT, of a name server/],
    ["dns://8.8.8.8:65536/greeter:50051", /IP:PORT, of a name server/],
    ["dns://::1/greeter:50051", /IP:PORT, of a name server/],
    ["dns://8.8.8.8/10.0.0.1:50051", /a name for the name server/],
    ["dns://user@8.8.8.8/greeter", /IP:PORT, of a name server/],
    ["dns:///", /host name/],
    ["dns:", /host name/],
    ["dns://greeter", /host name|HOST/],
    ["dns:50051", /host name/],
    ["greeter:0", /port from 1 to 65535/],
    ["greeter:65536", /port from 1 to 65535/],
    ["greeter:", /port from 1 to 65535/],
    ["greeter:http", /port from 1 to 65535/],
    ["greeter:-1", /port from 1 to 65535/],
    ["greeter:1e3", /port from 1 to 65535/],
    ["greeter:50051/path", /port from 1 to 65535/],
    ["greeter/path", /host name/],
    ["-greeter", /host name/],
    ["gre..eter", /host name/],
    [`${"a".repeat(64)}:1`, /host name/],
    ["999.1.1.1:80", /host name/],
    ["1.2.3:80", /host name/],
    ["a:1,b:2", /port from 1 to 65535|HOST/],
    ["[::1", /HOST/],
    ["[10.0.0.1]:80", /HOST/],
    ["ipv4:", /in every place/],
    ["ipv4:10.0.0.1,,10.0.0.2", /in every place/],
    ["ipv4:greeter:50051", /IPv4 addresses/],
    ["ipv4:[::1]:50051", /IPv4 addresses/],
    ["ipv4:256.0.0.1", /IPv4 addresses/],
    ["ipv4:10.0.0.1:0", /port/],
    ["ipv6:10.0.0.1:50051", /IPv6 addresses/],
    ["ipv6:[::1]:99999", /port/],
    ["ipv4:10.0.0.1,10.0.0.1:443", /not listed twice/],
    ["ipv6:[::1]:1,[0:0:0:0:0:0:0:1]:1", /not listed twice/],
    [`ipv4:${Array.from({ length: 1001 }, (_, i) => `10.0.${i >> 8}.${i & 255}`).join()}`, /at most 1000/]
  ])("refuses %s", (name, rule) => {
    const found = issues(name)
    assert.isAtLeast(found.length, 1)
    assert.match(found[0]!.rule, rule)
    for (const issue of found) assert.strictEqual(issue.path, "target")
  })

  it("says everything that is wrong with a list", () => {
    assert.lengthOf(issues("ipv4:10.0.0.1:0,greeter,,10.0.0.2,10.0.0.2"), 4)
  })

  it("takes 1,000 addresses", () => {
    const list = Array.from({ length: 1000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
    assert.lengthOf(addresses(`ipv4:${list.join()}`), 1000)
  })
})
