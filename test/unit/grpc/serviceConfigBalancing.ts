/** The balancing policies that there are here, by gRPC's names and settings. */
import type { Invalid, Valid } from "../../support/grpc/ServiceConfigParts.ts"

/** In order. */
export const valid: ReadonlyArray<Valid> = [
  ...(
    [
      ["pick_first", { pick_first: { shuffleAddressList: true } }, "A62; service_config.proto, PickFirstConfig"],
      ["pick_first", { pick_first: {} }, "service_config.proto, PickFirstConfig"],
      ["least_request", { least_request_experimental: { choiceCount: 3 } }, "A48, LeastRequestLocalityLbConfig"],
      ["least_request", { least_request: {} }, "A48, by the name without experimental"],
      [
        "weighted_round_robin",
        {
          weighted_round_robin: {
            enableOobLoadReport: false,
            blackoutPeriod: "10s",
            weightExpirationPeriod: "180s",
            weightUpdatePeriod: "0.5s",
            errorUtilizationPenalty: 1
          }
        },
        "A58; service_config.proto, WeightedRoundRobinLbConfig"
      ],
      [
        "ring_hash",
        { ring_hash_experimental: { maxRingSize: 4096 } },
        "A42; service_config.proto, RingHashLoadBalancingConfig"
      ],
      ["ring_hash", { ring_hash: {} }, "A42, by the name without experimental"]
    ] as const
  ).map(([policy, config, source], i) => ({
    name: `${policy}, ${i}`,
    source,
    config: { loadBalancingConfig: [config, { round_robin: {} }] },
    is: ({ balancing }: Parameters<NonNullable<Valid["is"]>>[0]) => [balancing?.policy.name, balancing?.skipped],
    equals: [policy, []]
  })),
  {
    name: "outlier detection around a policy, in camel case",
    source: "A50; service_config.proto, OutlierDetectionLoadBalancingConfig",
    config: {
      loadBalancingConfig: [
        {
          outlier_detection_experimental: {
            interval: "5s",
            baseEjectionTime: "1.5s",
            maxEjectionPercent: 30,
            successRateEjection: { stdevFactor: 1500, enforcementPercentage: 50 },
            childPolicy: [{ grpclb: {} }, { round_robin: {} }]
          }
        }
      ]
    },
    is: ({ balancing }) => {
      const { outlier, policy, skipped } = balancing!
      if (!outlier) return outlier
      const { baseMillis, intervalMillis, maximumEjected, successRate } = outlier
      return [
        policy.name,
        skipped,
        [intervalMillis, baseMillis, maximumEjected],
        [successRate?.stdevFactor, successRate?.enforcement],
        outlier.failurePercentage,
        outlier.a50
      ]
    },
    equals: ["round_robin", ["grpclb"], [5_000, 1_500, 0.3], [1_500, 50], undefined, true]
  },
  {
    name: "outlier detection in the spelling of protobuf",
    source: "A50; protobuf's JSON takes both",
    config: {
      loadBalancingConfig: [
        {
          outlier_detection: {
            max_ejection_time: "60s",
            failure_percentage_ejection: { request_volume: 10 },
            child_policy: [{ pick_first: {} }]
          }
        }
      ]
    },
    is: ({ balancing }) => [
      balancing?.policy.name,
      balancing?.outlier && [balancing.outlier.maxMillis, balancing.outlier.failurePercentage?.requestVolume]
    ],
    equals: ["pick_first", [60_000, 10]]
  },
  {
    name: "outlier detection without a rule, which detects nothing",
    source: "A50",
    config: { loadBalancingConfig: [{ outlier_detection: { childPolicy: [{ round_robin: {} }] } }] },
    is: ({ balancing }) => [balancing?.policy.name, balancing?.outlier],
    equals: ["round_robin", false]
  }
]

/** Not in order. */
export const invalid: ReadonlyArray<Invalid> = [
  {
    name: "a setting that pick_first has not",
    config: { loadBalancingConfig: [{ grpclb: {} }, { pick_first: { shuffle: true } }, { round_robin: {} }] },
    issues: [["loadBalancingConfig[1].pick_first", "no settings but shuffleAddressList"]]
  },
  {
    name: "what is wrong with an outlier detection",
    config: {
      loadBalancingConfig: [
        {
          outlier_detection_experimental: {
            interval: 10,
            max_ejection_percent: 101,
            success_rate_ejection: { minimum_hosts: -1, margin: 3 },
            failurePercentageEjection: { threshold: 101 },
            childPolicy: [{ round_robin: {} }]
          }
        }
      ]
    },
    issues: [
      ["loadBalancingConfig[0].outlier_detection_experimental.interval", '"10s" for seconds'],
      ["loadBalancingConfig[0].outlier_detection_experimental.success_rate_ejection.margin", "one of stdevFactor"],
      ["loadBalancingConfig[0].outlier_detection_experimental.failurePercentageEjection.threshold", "0 to 100"],
      ["loadBalancingConfig[0].outlier_detection_experimental.max_ejection_percent", "0 to 100"],
      ["loadBalancingConfig[0].outlier_detection_experimental.success_rate_ejection.minimum_hosts", "from 0"]
    ]
  },
  {
    name: "an outlier detection around nothing",
    config: { loadBalancingConfig: [{ outlier_detection: { successRateEjection: {} } }] },
    issues: [["loadBalancingConfig[0].outlier_detection.childPolicy", "a policy to stand around"]]
  },
  {
    name: "an outlier detection around a policy with a wrong setting",
    config: {
      loadBalancingConfig: [{ outlier_detection: { childPolicy: [{ least_request: { choiceCount: 1 } }] } }]
    },
    issues: [["loadBalancingConfig[0].outlier_detection.childPolicy[0].least_request.choiceCount", "from 2 on"]]
  },
  {
    name: "a shuffle that is no flag",
    config: { loadBalancingConfig: [{ pick_first: { shuffleAddressList: "yes" } }] },
    issues: [["loadBalancingConfig[0].pick_first.shuffleAddressList", "true or false"]]
  },
  {
    name: "a choice of one",
    config: { loadBalancingConfig: [{ least_request_experimental: { choiceCount: 1 } }] },
    issues: [["loadBalancingConfig[0].least_request_experimental.choiceCount", "an integer from 2 on"]]
  },
  {
    name: "reports out of band",
    config: { loadBalancingConfig: [{ weighted_round_robin: { enableOobLoadReport: true, blackoutPeriod: "10" } }] },
    issues: [
      ["loadBalancingConfig[0].weighted_round_robin.enableOobLoadReport", "false: loads are reported in trailers"],
      ["loadBalancingConfig[0].weighted_round_robin.blackoutPeriod", 'write "10s"']
    ]
  },
  {
    name: "a penalty below zero",
    config: { loadBalancingConfig: [{ weighted_round_robin: { errorUtilizationPenalty: -1 } }] },
    issues: [["loadBalancingConfig[0].weighted_round_robin.errorUtilizationPenalty", "a number from 0 on"]]
  },
  {
    name: "a ring that is too large, and a least size",
    config: { loadBalancingConfig: [{ ring_hash_experimental: { maxRingSize: 8_388_608 } }] },
    issues: [["loadBalancingConfig[0].ring_hash_experimental.maxRingSize", "an integer from 16 to 65,536"]]
  }
]
