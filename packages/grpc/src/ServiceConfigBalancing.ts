/**
 * The balancing of a service config: gRPC's names and settings as policies that there are here.
 */
import { OptionsError, type OptionsIssue, show } from "@hawser/core/OptionsError"
import type { Outlier } from "@hawser/core/Outlier"
import * as LeastRequest from "@hawser/core/LeastRequest"
import * as PeakEwma from "@hawser/core/PeakEwma"
import * as PickFirst from "@hawser/core/PickFirst"
import type { Policy } from "@hawser/core/Policy"
import * as RingHash from "@hawser/core/RingHash"
import * as RoundRobin from "@hawser/core/RoundRobin"
import * as WeightedRoundRobin from "@hawser/core/WeightedRoundRobin"
import * as Duration from "./ServiceConfigDuration.ts"
import * as Detection from "./ServiceConfigOutlier.ts"

/** Which balancing policy was chosen, and which before it are not known here. */
export interface Balancing {
  readonly policy: Policy
  /** Who is left out for failing, where an `outlier_detection` stands around the policy. */
  readonly outlier?: Outlier | false | undefined
  readonly skipped: ReadonlyArray<string>
}

type Settings = Readonly<Record<string, unknown>>

/** A setting by gRPC's name: how it is called here, and what is made of its value. */
interface Setting {
  readonly option: string
  readonly read: (value: unknown) => unknown
  /** What is wrong with a value that the policy itself can't tell. */
  readonly problem?: (value: unknown) => string | undefined
}

interface Known {
  readonly settings: Readonly<Record<string, Setting>>
  readonly make: (options: never) => Policy
}

const plain = (option: string): Setting => ({ option, read: (value) => value })
const duration = (option: string, zero: boolean): Setting => ({
  option,
  read: Duration.millisOf,
  problem: (value) => Duration.problem(value, zero)
})
/** Only the value that asks for nothing. */
const only = (value: unknown, rule: string): Setting => ({
  option: "",
  read: () => undefined,
  problem: (u) => (u === value ? undefined : rule)
})

const leastRequest: Known = { settings: { choiceCount: plain("choiceCount") }, make: LeastRequest.make }
const ringHash: Known = { settings: { maxRingSize: plain("maxRingSize") }, make: RingHash.make }

/** gRFC A48, A58, A61, A42 and `service_config.proto`. */
const known: ReadonlyMap<string, Known> = new Map([
  ["round_robin", { settings: {}, make: () => RoundRobin.policy }],
  ["p2c_peak_ewma", { settings: {}, make: () => PeakEwma.policy }],
  ["pick_first", { settings: { shuffleAddressList: plain("shuffle") }, make: PickFirst.make }],
  ["least_request", leastRequest],
  ["least_request_experimental", leastRequest],
  [
    "weighted_round_robin",
    {
      settings: {
        enableOobLoadReport: only(false, "false: loads are reported in trailers alone"),
        blackoutPeriod: duration("blackoutPeriod", true),
        weightExpirationPeriod: duration("weightExpirationPeriod", false),
        weightUpdatePeriod: duration("weightUpdatePeriod", true),
        errorUtilizationPenalty: plain("errorUtilizationPenalty")
      },
      make: WeightedRoundRobin.make
    }
  ],
  ["ring_hash", ringHash],
  ["ring_hash_experimental", ringHash]
] satisfies ReadonlyArray<readonly [string, Known]>)

/** A policy with its default settings; `undefined` for a name that is not known. */
export const named = (name: string): Policy | undefined => known.get(name)?.make({} as never)

const isObject = (u: unknown): u is Settings => typeof u === "object" && u !== null && !Array.isArray(u)

/** The first policy of the list that is known here. Those after it are for other clients (gRFC A24). */
export const balancingOf = (
  list: ReadonlyArray<unknown>,
  at = "loadBalancingConfig"
): { readonly chosen?: Balancing; readonly issues: ReadonlyArray<OptionsIssue> } => {
  const skipped: Array<string> = []
  for (const [index, entry] of list.entries()) {
    if (!isObject(entry)) return { issues: [] }
    const [[name, settings] = ["", undefined], ...more] = Object.entries(entry)
    // The schema says what is wrong with it.
    if (more.length > 0 || !isObject(settings)) return { issues: [] }
    if (Detection.names.includes(name)) return detected(settings, `${at}[${index}].${name}`, skipped)
    const policy = known.get(name)
    if (policy === undefined) skipped.push(name)
    else {
      const made = make(policy, settings, `${at}[${index}].${name}`)
      return "issues" in made ? made : { chosen: { policy: made.policy, skipped }, issues: [] }
    }
  }
  if (skipped.length === 0) return { issues: [] }
  const rule = `${[...known.keys(), ...Detection.names].join(", ")} among the policies; names are in lower case`
  return { issues: [{ path: at, rule, value: show(skipped) }] }
}

/** The policy that an outlier detection stands around, with the detection. */
const detected = (
  settings: Settings,
  path: string,
  skipped: ReadonlyArray<string>
): { readonly chosen?: Balancing; readonly issues: ReadonlyArray<OptionsIssue> } => {
  const found = Detection.detectionOf(settings, path)
  if ("issues" in found) return found
  const { chosen, issues } = balancingOf(found.child, found.childAt)
  if (chosen === undefined) {
    // What the schema says of policies it does not say of these.
    const rule = 'policies such as { "round_robin": {} }'
    return { issues: issues.length > 0 ? issues : [{ path: found.childAt, rule, value: show(found.child) }] }
  }
  return { chosen: { ...chosen, skipped: [...skipped, ...chosen.skipped], outlier: found.outlier }, issues: [] }
}

const make = (
  { make, settings }: Known,
  given: Settings,
  path: string
): { readonly policy: Policy } | { readonly issues: ReadonlyArray<OptionsIssue> } => {
  const issues: Array<OptionsIssue> = []
  const options: Record<string, unknown> = {}
  const names = new Map<string, string>()
  for (const [key, value] of Object.entries(given)) {
    const setting = Object.hasOwn(settings, key) ? settings[key] : undefined
    const keys = Object.keys(settings)
    const rule = setting === undefined ? noSuch(keys) : setting.problem?.(value)
    if (setting === undefined || rule !== undefined) {
      issues.push({
        path: setting === undefined ? path : `${path}.${key}`,
        rule: rule!,
        value: show(setting === undefined ? given : value)
      })
      continue
    }
    names.set(setting.option, key)
    if (setting.option !== "") options[setting.option] = setting.read(value)
  }
  if (issues.length > 0) return { issues }
  try {
    return { policy: make(options as never) }
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error
    return {
      issues: error.issues.map((issue) => ({ ...issue, path: `${path}.${names.get(issue.path) ?? issue.path}` }))
    }
  }
}

const noSuch = (keys: ReadonlyArray<string>): string =>
  keys.length === 0 ? "{}: the policy has no settings" : `no settings but ${keys.join(", ")}`
