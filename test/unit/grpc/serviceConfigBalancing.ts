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
  }))
]

/** Not in order. */
export const invalid: ReadonlyArray<Invalid> = [
  {
    name: "a setting that pick_first has not",
    config: { loadBalancingConfig: [{ grpclb: {} }, { pick_first: { shuffle: true } }, { round_robin: {} }] },
    issues: [["loadBalancingConfig[1].pick_first", "no settings but shuffleAddressList"]]
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
