/** Retries and hedges. */
import {
  add,
  at,
  cart,
  hedge,
  hedged,
  hedgingPolicy,
  one,
  path,
  retried,
  retry,
  retryPolicy,
  without,
  type Valid,
  type Invalid
} from "../../support/grpc/ServiceConfigParts.ts"

/** In order. */
export const valid: ReadonlyArray<Valid> = [
  {
    name: "a retry policy",
    source: "A6, the example of retryPolicy",
    config: retried({}),
    of: [path, { retry, hedge: undefined }]
  },
  {
    name: "two attempts",
    source: "A6: maxAttempts is greater than 1; grpc-go TestParseRetryPolicy",
    config: retried({ maxAttempts: 2, initialBackoff: "2s", maxBackoff: "10s" }),
    of: [path, { retry: { ...retry, maxAttempts: 2, initialBackoff: 2_000, maxBackoff: 10_000 } }]
  },
  {
    name: "more attempts than gRPC allows",
    source: "A6: above 5 is 5, and no validation error",
    config: retried({ maxAttempts: 9 }),
    of: [path, { retry: { ...retry, maxAttempts: 9 } }]
  },
  {
    name: "a multiplier below one",
    source: "A6: greater than 0; grpc-java's tests use 1.5",
    config: retried({ backoffMultiplier: 0.5 }),
    of: [path, { retry: { ...retry, backoffMultiplier: 0.5 } }]
  },
  {
    name: "a first wait above the largest",
    source: "A6: min(initialBackoff × …, maxBackoff); both need only be greater than 0",
    config: retried({ initialBackoff: "5s", maxBackoff: "1s" }),
    of: [path, { retry: { ...retry, initialBackoff: 5_000 } }]
  },
  {
    name: "statuses in lower case",
    source: "A6: the string form is case-insensitive",
    config: retried({ retryableStatusCodes: ["unavailable", "Resource_Exhausted"] }),
    of: [path, { retry: { ...retry, retryableStatusCodes: ["UNAVAILABLE", "RESOURCE_EXHAUSTED"] } }],
    notIn: {
      "grpc-java": "Status.Code.valueOf wants capitals",
      "grpc-go": "Code.UnmarshalJSON wants capitals",
      "C-core": "1.51 wants capitals"
    }
  },
  {
    name: "statuses as numbers",
    source: "A6: the integer form, [14]",
    config: retried({ retryableStatusCodes: [14, 8] }),
    of: [path, { retry: { ...retry, retryableStatusCodes: ["UNAVAILABLE", "RESOURCE_EXHAUSTED"] } }],
    notIn: { "C-core": "in 1.51 statuses are texts" }
  },
  {
    name: "a status twice",
    source: "A6: a set of statuses; grpc-java getStatusCodesFromList",
    config: retried({ retryableStatusCodes: ["UNAVAILABLE", 14] }),
    of: [path, { retry }],
    notIn: { "C-core": "in 1.51 statuses are texts" }
  },
  {
    name: "every status of a failure",
    source: "A6: each status must be a valid gRPC status",
    config: retried({ retryableStatusCodes: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16] }),
    is: (config) => config.forMethod(path).retry?.retryableStatusCodes.length,
    equals: 16,
    notIn: { "C-core": "in 1.51 statuses are texts" }
  },
  {
    name: "a retry policy for one method and a hedging policy for another",
    source: "A6: retry or hedging, for each method",
    config: {
      methodConfig: [
        { name: [add], retryPolicy },
        { name: [cart], hedgingPolicy }
      ]
    },
    of: ["/shop.Cart/List", { retry: undefined, hedge }]
  },
  {
    name: "a hedging policy",
    source: "A6, the example of hedgingPolicy",
    config: hedged({}),
    of: [path, { hedge, retry: undefined }]
  },
  {
    name: "all hedges at once",
    source: "A6, the example with a hedgingDelay of 0s",
    config: hedged({ hedgingDelay: "0s" }),
    of: [path, { hedge: { ...hedge, hedgingDelay: 0 } }]
  },
  {
    name: "a hedging policy of attempts alone",
    source: "A6: hedgingDelay and nonFatalStatusCodes are optional",
    config: one({ hedgingPolicy: { maxAttempts: 3 } }),
    of: [path, { hedge: { maxAttempts: 3, hedgingDelay: 0, nonFatalStatusCodes: [] } }]
  },
  {
    name: "a hedging policy without non-fatal statuses",
    source: "A6: nonFatalStatusCodes need not be non-empty; grpc-java getNonFatalStatusCodesFromHedgingPolicy",
    config: hedged({ nonFatalStatusCodes: [] }),
    of: [path, { hedge: { ...hedge, nonFatalStatusCodes: [] } }]
  },
  {
    name: "more hedges than gRPC allows",
    source: "A6: above 5 is 5, and no validation error",
    config: hedged({ maxAttempts: 50 }),
    of: [path, { hedge: { ...hedge, maxAttempts: 50 } }]
  }
]

/** Not in order. */
export const invalid: ReadonlyArray<Invalid> = [
  {
    name: "a retry policy and a hedging policy",
    config: one({ retryPolicy, hedgingPolicy }),
    issues: [[`${at}.hedgingPolicy`, "retryPolicy or hedgingPolicy, not both"]]
  },
  ...Object.keys(retryPolicy).map((key) => ({
    name: `a retry policy without ${key}`,
    config: one({ retryPolicy: without(retryPolicy, key) }),
    issues: [[`${at}.retryPolicy.${key}`, "it is required"] as const]
  })),
  {
    name: "a retry policy of one attempt",
    config: retried({ maxAttempts: 1 }),
    issues: [[`${at}.retryPolicy.maxAttempts`, "an integer from 2"]]
  },
  {
    name: "attempts that are no integer",
    config: retried({ maxAttempts: 2.5 }),
    issues: [[`${at}.retryPolicy.maxAttempts`, "an integer from 2"]]
  },
  {
    name: "attempts in quotes",
    config: retried({ maxAttempts: "3" }),
    issues: [[`${at}.retryPolicy.maxAttempts`, "without the quotes"]]
  },
  {
    name: "no waits between retries",
    config: retried({ initialBackoff: "0s", maxBackoff: "0s" }),
    issues: [
      [`${at}.retryPolicy.initialBackoff`, "above 0s"],
      [`${at}.retryPolicy.maxBackoff`, "above 0s"]
    ]
  },
  {
    name: "a multiplier of nothing",
    config: retried({ backoffMultiplier: 0 }),
    issues: [[`${at}.retryPolicy.backoffMultiplier`, "a number above 0"]]
  },
  {
    name: "no statuses to retry",
    config: retried({ retryableStatusCodes: [] }),
    issues: [[`${at}.retryPolicy.retryableStatusCodes`, "at least one status"]]
  },
  {
    name: "statuses that are none",
    config: retried({ retryableStatusCodes: ["UNAVAILBLE", 17, 14.5, null, "OK", 0] }),
    issues: [
      [`${at}.retryPolicy.retryableStatusCodes[0]`, "did you mean UNAVAILABLE?"],
      ...[1, 2, 3, 4, 5].map(
        (n) => [`${at}.retryPolicy.retryableStatusCodes[${n}]`, "a failure, or its number"] as const
      )
    ]
  },
  {
    name: "statuses that are no list",
    config: retried({ retryableStatusCodes: "UNAVAILABLE" }),
    issues: [[`${at}.retryPolicy.retryableStatusCodes`, "a list"]]
  },
  {
    name: "a hedging policy without attempts",
    config: one({ hedgingPolicy: {} }),
    issues: [[`${at}.hedgingPolicy.maxAttempts`, "it is required"]]
  },
  {
    name: "a negative hedging delay",
    config: hedged({ hedgingDelay: "-0.5s" }),
    issues: [[`${at}.hedgingPolicy.hedgingDelay`, "from 0s"]]
  },
  {
    name: "a non-fatal status that is none",
    config: hedged({ nonFatalStatusCodes: ["ABORT"] }),
    issues: [[`${at}.hedgingPolicy.nonFatalStatusCodes[0]`, "did you mean ABORTED?"]]
  }
]
