/** What is for a target, and problems of several kinds at once. */
import {
  at,
  cart,
  hedgingPolicy,
  path,
  retry,
  retryPolicy,
  type Valid,
  type Invalid
} from "../../support/grpc/ServiceConfigParts.ts"

/** In order. */
export const valid: ReadonlyArray<Valid> = [
  {
    name: "a throttle",
    source: "A6, the example of retryThrottling",
    config: { retryThrottling: { maxTokens: 10, tokenRatio: 0.1 } },
    is: ({ throttle }) => throttle,
    equals: { maxTokens: 10, tokenRatio: 0.1 }
  },
  {
    name: "the largest throttle",
    source: "A6: maxTokens in (0, 1000]",
    config: { retryThrottling: { maxTokens: 1000, tokenRatio: 1 } },
    is: ({ throttle }) => throttle,
    equals: { maxTokens: 1000, tokenRatio: 1 }
  },
  {
    name: "a ratio with more decimals than count",
    source: "A6: decimals beyond 3 are ignored, 0.5466 is 0.546; RetryThrottle.make does it",
    config: { retryThrottling: { maxTokens: 1, tokenRatio: 0.5466 } },
    is: ({ throttle }) => throttle,
    equals: { maxTokens: 1, tokenRatio: 0.5466 }
  },
  {
    name: "round robin",
    source: "A24; service_config.proto, LoadBalancingConfig",
    config: { loadBalancingConfig: [{ round_robin: {} }] },
    is: ({ balancing }) => [balancing?.policy.name, balancing?.skipped],
    equals: ["round_robin", []]
  },
  {
    name: "the first known policy, whatever comes after it",
    source: "A24: clients stop at the first policy that they support",
    config: { loadBalancingConfig: [{ p2c_peak_ewma: {} }, { round_robin: {} }, { pick_first: {} }] },
    is: ({ balancing }) => [balancing?.policy.name, balancing?.skipped],
    equals: ["p2c_peak_ewma", []]
  },
  {
    name: "policies that nobody here knows, before one that is known",
    source: "A24; grpc-java selectLbPolicyFromList",
    config: { loadBalancingConfig: [{ xds_experimental: { cluster: "c" } }, { grpclb: {} }, { round_robin: {} }] },
    is: ({ balancing }) => [balancing?.policy.name, balancing?.skipped],
    equals: ["round_robin", ["xds_experimental", "grpclb"]]
  },
  {
    name: "a health check of a service",
    source: "A17, healthCheckConfig",
    config: { healthCheckConfig: { serviceName: "shop.Cart" } },
    is: ({ healthCheck }) => healthCheck,
    equals: { serviceName: "shop.Cart" }
  },
  {
    name: "a health check of the whole server",
    source: "A17: the empty name is the whole server",
    config: { healthCheckConfig: { serviceName: "" } },
    is: ({ healthCheck }) => healthCheck,
    equals: { serviceName: "" }
  },
  {
    name: "a health check that names nothing",
    source: "A17: without a name there is no check",
    config: { healthCheckConfig: {} },
    is: ({ healthCheck }) => healthCheck,
    equals: { serviceName: undefined }
  },
  {
    name: "everything",
    source: "service_config.proto",
    config: {
      loadBalancingConfig: [{ round_robin: {} }],
      methodConfig: [
        { name: [{}], timeout: "10s", waitForReady: false },
        { name: [cart], timeout: "1s", retryPolicy, maxRequestMessageBytes: 1, maxResponseMessageBytes: 2 },
        { name: [{ service: "shop.Search", method: "Find" }], hedgingPolicy }
      ],
      retryThrottling: { maxTokens: 100, tokenRatio: 0.1 },
      healthCheckConfig: { serviceName: "shop" }
    },
    of: [path, { scope: "Service", timeoutMillis: 1_000, retry, maxRequestBytes: 1, maxResponseBytes: 2 }]
  }
]

/** Not in order. */
export const invalid: ReadonlyArray<Invalid> = [
  {
    name: "an empty throttle",
    config: { retryThrottling: {} },
    issues: [
      ["retryThrottling.maxTokens", "it is required"],
      ["retryThrottling.tokenRatio", "it is required"]
    ]
  },
  {
    name: "a throttle out of bounds",
    config: { retryThrottling: { maxTokens: 1001, tokenRatio: 0 } },
    issues: [
      ["retryThrottling.maxTokens", "an integer from 1 to 1,000"],
      ["retryThrottling.tokenRatio", "a number from 0.001"]
    ]
  },
  {
    name: "tokens that are no integer, and a ratio without decimals that count",
    config: { retryThrottling: { maxTokens: 10.5, tokenRatio: 0.0004 } },
    issues: [
      ["retryThrottling.maxTokens", "an integer from 1 to 1,000"],
      ["retryThrottling.tokenRatio", "a number from 0.001"]
    ]
  },
  {
    name: "a throttle that is null",
    config: { retryThrottling: null },
    issues: [["retryThrottling", "an object with maxTokens"]]
  },
  {
    name: "no balancing policies",
    config: { loadBalancingConfig: [] },
    issues: [["loadBalancingConfig", "at least one policy"]]
  },
  {
    name: "balancing policies that nobody here knows",
    config: { loadBalancingConfig: [{ grpclb: {} }, { ROUND_ROBIN: {} }] },
    issues: [["loadBalancingConfig", "round_robin, p2c_peak_ewma, pick_first"]]
  },
  {
    name: "two policies in one entry",
    config: { loadBalancingConfig: [{ round_robin: {}, grpclb: {} }] },
    issues: [["loadBalancingConfig[0]", "one policy"]]
  },
  {
    name: "a policy as a text",
    config: { loadBalancingConfig: ["round_robin"] },
    issues: [["loadBalancingConfig[0]", "one policy"]]
  },
  {
    name: "a policy without its settings",
    config: { loadBalancingConfig: [{ round_robin: null }] },
    issues: [["loadBalancingConfig[0]", "one policy"]]
  },
  {
    name: "policies that are no list",
    config: { loadBalancingConfig: { round_robin: {} } },
    issues: [["loadBalancingConfig", "a list"]]
  },
  {
    name: "settings that round robin has not",
    config: { loadBalancingConfig: [{ round_robin: { childPolicy: [] } }] },
    issues: [["loadBalancingConfig[0].round_robin", "no settings"]]
  },
  {
    name: "a health check of a number",
    config: { healthCheckConfig: { serviceName: 5 } },
    issues: [["healthCheckConfig.serviceName", "a text"]]
  },
  {
    name: "a health check with another key",
    config: { healthCheckConfig: { service: "shop" } },
    issues: [["healthCheckConfig.service", "did you mean serviceName?"]]
  },
  {
    name: "one problem of each kind",
    config: {
      loadBalancingPolicy: "round_robin",
      loadBalancingConfig: [{ xds: {} }],
      methodConfig: [
        { name: [cart], timeout: "1 m", retryPolicy: { ...retryPolicy, maxAttempts: 1 }, hedgingPolicy },
        { name: [cart], waitForReady: "no" }
      ],
      retryThrottling: { maxTokens: 0, tokenRatio: 1 }
    },
    issues: [
      ["loadBalancingPolicy", "loadBalancingConfig"],
      [`${at}.timeout`, 'write "60s"'],
      [`${at}.retryPolicy.maxAttempts`, "an integer from 2"],
      ["methodConfig[1].waitForReady", "true or false"],
      ["retryThrottling.maxTokens", "an integer from 1"],
      [`${at}.hedgingPolicy`, "not both"],
      ["methodConfig[1].name[0]", "already"],
      ["loadBalancingConfig", "round_robin, p2c_peak_ewma"]
    ]
  }
]
