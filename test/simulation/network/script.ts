/**
 * What happens in one simulated run, as data: drawn from a seed, played, shrunk and printed.
 */
import { Dice } from "../../support/core/prng.ts"

/** What the client and its surroundings are like. */
export interface Settings {
  readonly hosts: number
  /** MAX_CONCURRENT_STREAMS of every server; 0 for none stated. */
  readonly streams: number
  /** Of the line to every host, each way, in milliseconds. */
  readonly latency: number
  readonly min: number
  readonly max: number
  readonly maxWaiters: number
  readonly maxWait: number
  readonly attempts: number
  /** The time of one attempt; 0 for none. */
  readonly perAttempt: number
  /** Retries per second that the budget always allows. */
  readonly reserve: number
  readonly silence: boolean
  readonly policy: PolicyName
  /** In place of retries: the delay of a hedge, in milliseconds; 0 for none. */
  readonly hedge: number
  /** Whether endpoints come from a resolver that changes them. */
  readonly moves: boolean
  readonly drain: number
  /** How the health of servers is asked for. */
  readonly health: "off" | "watch" | "poll"
}

/** How endpoints are chosen. */
export const policies = [
  "peak EWMA",
  "round robin",
  "least request",
  "weighted round robin",
  "ring hash",
  "pick first"
] as const

export type PolicyName = (typeof policies)[number]

export type Kind = "unary" | "serverStreaming" | "clientStreaming" | "bidiStreaming"

/** A call. */
export interface CallStep {
  readonly _tag: "Call"
  readonly at: number
  readonly id: number
  readonly kind: Kind
  readonly idempotent: boolean
  /** What the handler takes, for each message of a stream. */
  readonly millis: number
  /** Messages of a stream. */
  readonly messages: number
  /** 0: none on purpose. */
  readonly timeout: number
  readonly waitForReady: boolean
  readonly priority: 0 | 1 | 2
  /** Interrupted after so long; 0: never. */
  readonly interrupt: number
  /** Whether the reader of a stream leaves after the first message. */
  readonly leave: boolean
  /** Calls of one key go together, if they can; `hard`: or wait. */
  readonly affinity: "none" | "soft" | "hard"
}

/** A fault, on one host. */
export interface FaultStep {
  readonly _tag: "Fault"
  readonly at: number
  readonly name: FaultName
  readonly host: number
  readonly lasting: number
  /** What the fault is told: a duration, a chance, a limit. */
  readonly amount: number
}

/** The end of the client, before its time. */
export interface EndStep {
  readonly _tag: "Drain" | "Close"
  readonly at: number
}

/** A borrow of a connection by hand. */
export interface BorrowStep {
  readonly _tag: "Borrow"
  readonly at: number
  readonly hold: number
  readonly scoped: boolean
}

/** The resolver says something else. */
export interface MoveStep {
  readonly _tag: "Move"
  readonly at: number
  readonly hosts: ReadonlyArray<{ readonly host: number; readonly weight: number }>
}

export type Step = CallStep | BorrowStep | FaultStep | MoveStep | EndStep

/** One run. */
export interface Script {
  readonly seed: number
  readonly settings: Settings
  readonly steps: ReadonlyArray<Step>
}

/** Every fault, and how its amount is drawn. */
export const faults = {
  refuse: () => 0,
  blackHole: () => 0,
  mute: () => 0,
  slowSettings: (dice) => 20 + dice.below(400),
  cut: () => 0,
  silence: (dice) => dice.below(3),
  latency: (dice) => 5 + dice.below(150),
  loss: (dice) => 0.1 + dice.below(5) / 10,
  resetStreams: (dice) => dice.oneOf([0, 2, 8, 11]),
  goAway: () => 0,
  goAwayLast: (dice) => dice.oneOf([0, 0, 2, 11]),
  refuseStreams: () => 0,
  limitLowered: (dice) => 1 + dice.below(4),
  limitZero: () => 0,
  kill: () => 0,
  freeze: () => 0,
  failCalls: (dice) => dice.below(3),
  notServing: () => 0,
  flapping: (dice) => 1 + dice.below(200),
  healthHangs: () => 0,
  healthFails: (dice) => dice.below(3),
  healthFloods: () => 0
} as const satisfies Record<string, (dice: Dice) => number>

export type FaultName = keyof typeof faults

/** Those that nobody notices who does not ask. */
const sick: ReadonlyArray<FaultName> = ["notServing", "flapping", "healthHangs", "healthFails", "healthFloods"]
const names = (Object.keys(faults) as ReadonlyArray<FaultName>).filter((name) => !sick.includes(name))
/** Those that need new connections to be felt: something else breaks the old ones. */
const needDial: ReadonlySet<FaultName> = new Set(["refuse", "blackHole", "mute", "slowSettings"])
const breakers: ReadonlyArray<FaultName> = ["cut", "goAway", "kill"]
const kinds: ReadonlyArray<Kind> = ["serverStreaming", "clientStreaming", "bidiStreaming"]

/** When the storm is over: no fault lasts longer. */
export const calmAt = 6_000

const drawCall = (dice: Dice, id: number, at: number): CallStep => {
  const kind = dice.chance(0.7) ? "unary" : dice.oneOf(kinds)
  return {
    _tag: "Call",
    at,
    id,
    kind,
    idempotent: dice.chance(0.5),
    millis: dice.chance(0.8) ? 1 + dice.below(30) : dice.below(400),
    messages: dice.below(8),
    timeout: dice.chance(0.1) ? (kind === "unary" ? 5_000 : 0) : 20 + dice.below(dice.chance(0.3) ? 120 : 2_000),
    waitForReady: dice.chance(0.3),
    priority: dice.chance(0.8) ? 1 : dice.oneOf([0, 2] as const),
    interrupt: dice.chance(0.15) ? 1 + dice.below(300) : 0,
    leave: dice.chance(0.1),
    affinity: "none"
  }
}

const drawFault = (
  dice: Dice,
  names: ReadonlyArray<FaultName>,
  hosts: number,
  at: number
): ReadonlyArray<FaultStep> => {
  const name = dice.oneOf(names)
  const host = dice.below(hosts)
  const lasting = Math.min(calmAt - at, 30 + dice.below(dice.chance(0.3) ? 3_000 : 800))
  const fault: FaultStep = { _tag: "Fault", at, name, host, lasting, amount: faults[name](dice) }
  if (!needDial.has(name)) return [fault]
  const breaker: FaultStep = {
    _tag: "Fault",
    at: at + 1,
    name: dice.oneOf(breakers),
    host,
    lasting: 1 + dice.below(30),
    amount: 0
  }
  return [fault, breaker]
}

/** What a run is about: which faults there are, how many, and whether the client is ended early. */
export const scenarios = {
  storm: { names, most: 6, least: 5, ends: 0.3 },
  health: { names: [...sick, ...sick, ...sick, ...names], most: 8, least: 6, ends: 0.2 },
  policies: { names, most: 6, least: 4, ends: 0.2 },
  hedges: { names: ["latency", "silence", "freeze", "loss", ...names], most: 6, least: 4, ends: 0.2 },
  moves: { names, most: 5, least: 3, ends: 0.3 },
  calm: { names, most: 1, least: 0, ends: 0.1 },
  limits: { names: ["limitLowered", "limitZero", "refuseStreams", "goAway", "latency"], most: 8, least: 5, ends: 0.2 },
  outage: { names: ["kill", "cut", "refuse", "blackHole", "mute", "freeze"], most: 10, least: 8, ends: 0.2 },
  endings: { names, most: 4, least: 2, ends: 1 }
} as const satisfies Record<
  string,
  { readonly names: ReadonlyArray<FaultName>; readonly most: number; readonly least: number; readonly ends: number }
>

export type ScenarioName = keyof typeof scenarios

export const isScenario = (name: string): name is ScenarioName => Object.hasOwn(scenarios, name)

/** Who is there from now on: some of them, seldom nobody, with weights of their own. */
const drawMove = (dice: Dice, hosts: number, at: number): MoveStep => {
  const some = Array.from({ length: hosts }, (_, host) => ({ host, weight: dice.chance(0.7) ? 1 : 1 + dice.below(9) }))
  const nobody = dice.chance(0.1)
  return { _tag: "Move", at, hosts: some.filter(() => !nobody && dice.chance(0.6)) }
}

/** What a scenario has besides, drawn from dice of its own: the runs of the others stay what they are. */
const vary = (script: Script, name: ScenarioName): Script => {
  const { seed, settings, steps } = script
  const dice = new Dice(seed * 13 + 5)
  switch (name) {
    case "policies":
      return {
        seed,
        settings: { ...settings, policy: dice.oneOf(policies) },
        steps: steps.map((step) =>
          step._tag === "Call" && dice.chance(0.4) ? { ...step, affinity: dice.oneOf(["soft", "soft", "hard"]) } : step
        )
      }
    case "hedges":
      return { seed, settings: { ...settings, hedge: 1 + dice.below(dice.chance(0.5) ? 30 : 200) }, steps }
    case "moves": {
      const moves = Array.from({ length: 2 + dice.below(12) }, () => drawMove(dice, settings.hosts, dice.below(calmAt)))
      return {
        seed,
        settings: { ...settings, moves: true, policy: dice.oneOf(policies) },
        steps: [...steps, ...moves].toSorted((a, b) => a.at - b.at)
      }
    }
    default:
      return script
  }
}

/** Draws a run. */
export const draw = (seed: number, name: ScenarioName = "storm"): Script => {
  const scenario = scenarios[name]
  const dice = new Dice(seed * 31 + 7)
  const hosts = 1 + dice.below(4)
  const settings: Settings = {
    hosts,
    streams: dice.chance(0.3) ? 0 : 1 + dice.below(dice.chance(0.5) ? 4 : 30),
    latency: dice.chance(0.5) ? 0 : dice.below(10),
    min: dice.below(3),
    max: 2 + dice.below(3),
    maxWaiters: dice.chance(0.2) ? dice.below(10) : 1_000,
    maxWait: dice.chance(0.3) ? 100 + dice.below(400) : 30_000,
    attempts: dice.chance(0.3) ? 1 : 3,
    perAttempt: seed % 4 === 1 ? 40 + ((seed * 53) % 500) : 0,
    reserve: dice.chance(0.5) ? 1 : 10,
    silence: dice.chance(0.7),
    policy: dice.chance(0.3) ? "round robin" : "peak EWMA",
    hedge: 0,
    moves: false,
    drain: dice.below(400),
    health: name === "health" ? (new Dice(seed * 17 + 3).chance(0.8) ? "watch" : "poll") : "off"
  }
  const steps: Array<Step> = []
  const calls = 200 + dice.below(60)
  let at = 0
  for (let id = 1; id <= calls; id++) {
    // Bursts, and quiet times between them.
    if (dice.chance(0.5)) at += dice.below(dice.chance(0.1) ? 400 : 30)
    steps.push(drawCall(dice, id, Math.min(at, calmAt - 1)))
    if (dice.chance(0.03)) {
      steps.push({ _tag: "Borrow", at: Math.min(at, calmAt - 1), hold: dice.below(60), scoped: dice.chance(0.5) })
    }
  }
  const last = Math.min(at, calmAt - 1)
  for (let n = scenario.least + dice.below(scenario.most); n > 0; n--) {
    steps.push(...drawFault(dice, scenario.names, hosts, dice.below(last)))
  }
  if (dice.chance(scenario.ends)) steps.push({ _tag: dice.chance(0.5) ? "Drain" : "Close", at: dice.below(last) })
  return vary({ seed, settings, steps: steps.toSorted((a, b) => a.at - b.at) }, name)
}
