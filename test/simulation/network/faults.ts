/**
 * The servers by number, and the faults of a script as faults of the network.
 */
import * as Faults from "@hawser/testing/Faults"
import type { FaultName, FaultStep } from "./script.ts"

/** Where a server listens. */
export const address = (host: number): string => `10.0.0.${host + 1}:50051`

const make: Readonly<Record<FaultName, (address: string, amount: number) => Faults.Fault>> = {
  refuse: Faults.refuse,
  blackHole: Faults.blackHole,
  mute: Faults.mute,
  slowSettings: Faults.slowSettings,
  cut: Faults.cut,
  silence: (at, amount) => Faults.silence(at, (["both", "toServer", "toClient"] as const)[amount]),
  latency: (at, amount) => Faults.latency(at, amount, amount / 4),
  loss: Faults.loss,
  resetStreams: Faults.resetStreams,
  goAway: (at) => Faults.goAway(at),
  goAwayLast: (at, amount) => Faults.goAway(at, { abrupt: true, code: amount }),
  refuseStreams: Faults.refuseStreams,
  limitLowered: Faults.limit,
  limitZero: (at) => Faults.limit(at, 0),
  kill: Faults.kill,
  freeze: Faults.freeze,
  notServing: (at) => Faults.notServing(at),
  flapping: (at, amount) => Faults.flapping(at, amount),
  healthHangs: (at) => Faults.health(at, "Hangs"),
  healthFails: (at, amount) =>
    Faults.health(at, {
      _tag: "Fails",
      status: { _tag: (["Unavailable", "Internal", "ResourceExhausted"] as const)[amount]! }
    }),
  healthFloods: (at) => Faults.health(at, "Floods"),
  failCalls: (at, amount) => Faults.failCalls(at, (["Unavailable", "Internal", "ResourceExhausted"] as const)[amount])
}

/** The fault of a step. */
export const toFault = ({ amount, host, name }: FaultStep): Faults.Fault => make[name](address(host), amount)
