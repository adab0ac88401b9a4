/** The whole of a service config, and its keys. */
import {
  add,
  at,
  cart,
  hedgingPolicy,
  one,
  retried,
  retryPolicy,
  type Invalid
} from "../../support/grpc/ServiceConfigParts.ts"

/** Not in order. */
export const invalid: ReadonlyArray<Invalid> = [
  { name: "a list", config: [], issues: [["service config", "an object with methodConfig"]] },
  { name: "null", config: null, issues: [["service config", "an object with methodConfig"]] },
  { name: "a text", config: '"round_robin"', issues: [["service config", "an object with methodConfig"]] },
  { name: "no JSON", config: "{ methodConfig: [] }", issues: [["service config", "JSON ("]] },
  { name: "an empty text", config: "", issues: [["service config", "JSON ("]] },
  { name: "text that breaks off", config: '{"methodConfig":[{"name":[', issues: [["service config", "JSON ("]] },
  {
    name: "a key twice",
    config: '{"methodConfig":[{"name":[{}],"timeout":"1s"}],"methodConfig":[]}',
    issues: [["methodConfig", "each key once"]]
  },
  {
    name: "a key twice deep inside, in another spelling, and a wrong value",
    config: '{"methodConfig":[{"name":[{}]},{"name":[{"service":"a","serv\\u0069ce":"b"}],"timeout":"1m"}]}',
    issues: [
      ["methodConfig[1].name[0].service", "each key once"],
      ["methodConfig[1].timeout", 'write "60s"']
    ]
  },
  {
    name: "a config as gRFC A2 wraps it",
    config: { serviceConfig: {} },
    issues: [["serviceConfig", "without the key around it"]]
  },
  {
    name: "a retry policy at the top",
    config: { retryPolicy },
    issues: [["retryPolicy", 'in an entry of methodConfig: [{ "name": [{}], "retryPolicy": … }]']]
  },
  {
    name: "a timeout and waitForReady at the top",
    config: { timeout: "1s", waitForReady: true },
    issues: [
      ["timeout", "in an entry of methodConfig"],
      ["waitForReady", "in an entry of methodConfig"]
    ]
  },
  {
    name: "the balancing policy of old",
    config: { loadBalancingPolicy: "round_robin" },
    issues: [["loadBalancingPolicy", '"loadBalancingConfig": [{ "round_robin": {} }]']]
  },
  {
    name: "protobuf's own spelling",
    config: { method_config: [], retry_throttling: {} },
    issues: [
      ["method_config", "did you mean methodConfig?"],
      ["retry_throttling", "did you mean retryThrottling?"]
    ]
  },
  { name: "an unknown key", config: { color: "red" }, issues: [["color", "one of methodConfig, retryThrottling"]] },
  {
    name: "keys that every object has",
    config: '{"__proto__":{"timeout":"1s"},"constructor":1,"toString":2}',
    issues: [
      ["__proto__", "one of methodConfig"],
      ["constructor", "one of methodConfig"],
      ["toString", "one of methodConfig"]
    ]
  },
  {
    name: "such keys further down",
    config: `{"methodConfig":[{"name":[{"__proto__":{"service":"a"}}],"__proto__":{"timeout":"1s"}}]}`,
    issues: [
      ["methodConfig[0].name[0].__proto__", "one of service, method"],
      ["methodConfig[0].__proto__", "one of name, timeout"]
    ]
  },
  { name: "a misspelt key", config: one({ timeOut: "1s" }), issues: [[`${at}.timeOut`, "did you mean timeout?"]] },
  {
    name: "a throttle for one method",
    config: one({ retryThrottling: { maxTokens: 10, tokenRatio: 0.1 } }),
    issues: [[`${at}.retryThrottling`, "at the top, beside methodConfig"]]
  },
  {
    name: "a service beside the names",
    config: { methodConfig: [{ service: "shop.Cart", timeout: "1s" }] },
    issues: [
      [`${at}.service`, "it in methodConfig.name"],
      [`${at}.name`, "it is required"]
    ]
  },
  {
    name: "message sizes as grpc-js calls them",
    config: one({ maxRequestBytes: 1, maxResponseBytes: 2 }),
    issues: [
      [`${at}.maxRequestBytes`, '"maxRequestMessageBytes"'],
      [`${at}.maxResponseBytes`, '"maxResponseMessageBytes"']
    ]
  },
  {
    name: "a limit for one attempt",
    config: retried({ perAttemptRecvTimeout: "1s" }),
    issues: [[`${at}.retryPolicy.perAttemptRecvTimeout`, "gRFC A6 has none"]]
  },
  {
    name: "keys of the other policy",
    config: {
      methodConfig: [
        { name: [add], retryPolicy: { ...retryPolicy, hedgingDelay: "1s" } },
        { name: [cart], hedgingPolicy: { ...hedgingPolicy, retryableStatusCodes: [14] } }
      ]
    },
    issues: [
      [`${at}.retryPolicy.hedgingDelay`, "it in methodConfig.hedgingPolicy"],
      ["methodConfig[1].hedgingPolicy.retryableStatusCodes", "it in methodConfig.retryPolicy"]
    ]
  }
]
