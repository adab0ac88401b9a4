/** Durations, flags and sizes. */
import { add, at, cart, duration, one, path, type Valid, type Invalid } from "../../support/grpc/ServiceConfigParts.ts"

/** In order. */
export const valid: ReadonlyArray<Valid> = [
  {
    name: "half a second",
    source: "protobuf's JSON for Duration; grpc-go TestDuration_MarshalUnmarshal",
    config: one({ timeout: "0.5s" }),
    of: [path, { timeoutMillis: 500 }]
  },
  {
    name: "a second and a half",
    source: "protobuf's JSON for Duration",
    config: one({ timeout: "1.5s" }),
    of: [path, { timeoutMillis: 1_500 }]
  },
  {
    name: "milliseconds",
    source: "grpc-java managedChannelServiceConfig_parseMethodConfig: 1.234s is 1,234 ms",
    config: one({ timeout: "1.234s" }),
    of: [path, { timeoutMillis: 1_234 }]
  },
  {
    name: "a fraction with zeros before it",
    source: "grpc-go Duration.UnmarshalJSON: the fraction is padded to nine digits",
    config: one({ timeout: "0.050s" }),
    of: [path, { timeoutMillis: 50 }]
  },
  {
    name: "nanoseconds",
    source: "protobuf's JSON for Duration: up to nine digits",
    config: one({ timeout: "1.000000001s" }),
    of: [path, { timeoutMillis: 1_000.000001 }]
  },
  {
    name: "24 days",
    source: "protobuf's JSON for Duration, up to 315,576,000,000s; more than 24 days are no timer of Node",
    config: one({ timeout: "2073600s" }),
    of: [path, { timeoutMillis: 2_073_600_000 }]
  },
  {
    name: "waiting for ready",
    source: "service_config.proto, wait_for_ready",
    config: one({ waitForReady: true }),
    of: [path, { waitForReady: true }]
  },
  {
    name: "not waiting for ready",
    source: "grpc-go TestParseWaitForReady",
    config: one({ waitForReady: false }),
    of: [path, { waitForReady: false }]
  },
  {
    name: "message sizes",
    source: "grpc-go TestParseMsgSize",
    config: one({ maxRequestMessageBytes: 1024, maxResponseMessageBytes: 2048 }),
    of: [path, { maxRequestBytes: 1024, maxResponseBytes: 2048 }]
  },
  {
    name: "empty messages only",
    source: "service_config.proto: 0 is valid, the message must be empty",
    config: one({ maxRequestMessageBytes: 0, maxResponseMessageBytes: 0 }),
    of: [path, { maxRequestBytes: 0, maxResponseBytes: 0 }]
  },
  {
    name: "the largest messages",
    source: "service_config.proto: uint32",
    config: one({ maxRequestMessageBytes: 4_294_967_295 }),
    of: [path, { maxRequestBytes: 4_294_967_295 }],
    notIn: { "grpc-java": "JsonUtil.getNumberAsInteger has 31 bits" }
  },
  {
    name: "the largest of several methods",
    source: "ours: what a connection must carry",
    config: {
      methodConfig: [
        { name: [add], maxResponseMessageBytes: 10 },
        { name: [cart] },
        { name: [{}], maxResponseMessageBytes: 30 }
      ]
    },
    is: ({ maxRequestBytes, maxResponseBytes }) => [maxRequestBytes, maxResponseBytes],
    equals: [undefined, 30]
  }
]

/** Not in order. */
export const invalid: ReadonlyArray<Invalid> = [
  {
    name: "a duration in milliseconds",
    config: one({ timeout: "500ms" }),
    issues: [[`${at}.timeout`, 'write "0.5s"']]
  },
  { name: "a duration in minutes", config: one({ timeout: "1m" }), issues: [[`${at}.timeout`, 'write "60s"']] },
  { name: "a duration in words", config: one({ timeout: "2 seconds" }), issues: [[`${at}.timeout`, 'write "2s"']] },
  {
    name: "a duration that is a number",
    config: one({ timeout: 30 }),
    issues: [[`${at}.timeout`, 'write "30s" for seconds, "0.03s" for milliseconds']]
  },
  {
    name: "a duration without a unit",
    config: one({ timeout: "30" }),
    issues: [[`${at}.timeout`, 'write "30s" for seconds']]
  },
  {
    name: "a duration in two numbers, as grpc-js takes it",
    config: one({ timeout: { seconds: 1, nanos: 500_000_000 } }),
    issues: [[`${at}.timeout`, 'write "1.5s"']]
  },
  {
    name: "a duration without a digit before the point",
    config: one({ timeout: ".5s" }),
    issues: [[`${at}.timeout`, 'write "0.5s"']]
  },
  {
    name: "a duration of ten decimals",
    config: one({ timeout: "1.0000000001s" }),
    issues: [[`${at}.timeout`, duration]]
  },
  { name: "a duration with an exponent", config: one({ timeout: "1e3s" }), issues: [[`${at}.timeout`, duration]] },
  { name: "a duration of nothing", config: one({ timeout: "0s" }), issues: [[`${at}.timeout`, "above 0s"]] },
  { name: "a duration below nothing", config: one({ timeout: "-1s" }), issues: [[`${at}.timeout`, "above 0s"]] },
  {
    name: "a duration that no timer lasts",
    config: one({ timeout: "2073601s" }),
    issues: [[`${at}.timeout`, "to 2073600s"]]
  },
  { name: "a duration that is null", config: one({ timeout: null }), issues: [[`${at}.timeout`, duration]] },
  {
    name: "a flag in quotes",
    config: one({ waitForReady: "true" }),
    issues: [[`${at}.waitForReady`, "without the quotes"]]
  },
  {
    name: "a flag that is a number",
    config: one({ waitForReady: 1 }),
    issues: [[`${at}.waitForReady`, "true or false"]]
  },
  {
    name: "a size in quotes",
    config: one({ maxRequestMessageBytes: "1024" }),
    issues: [[`${at}.maxRequestMessageBytes`, "without the quotes"]]
  },
  {
    name: "sizes that are none",
    config: one({ maxRequestMessageBytes: -1, maxResponseMessageBytes: 1.5 }),
    issues: [
      [`${at}.maxRequestMessageBytes`, "from 0 to 4,294,967,295"],
      [`${at}.maxResponseMessageBytes`, "from 0 to 4,294,967,295"]
    ]
  }
]
