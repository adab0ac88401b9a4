/**
 * What must be so of a whole run, when it is over: retries, metrics, events.
 */
import type * as Metric from "effect/Metric"
import type { World } from "@hawser/testing/Simulation"
import type { Recorder } from "../../support/core/Recorder.ts"
import type { Ledger } from "./ledger.ts"
import { probes } from "./probe.ts"
import type { Script } from "./script.ts"

/** I-8: calls are sent again only as far as the budget goes, in any ten seconds. */
export const amplification = (script: Script, world: World, ledger: Ledger): void => {
  const calls = script.steps.filter((step) => step._tag === "Call").length + probes
  const windows = Math.ceil(world.clock.now / 10_000)
  const allowed = 0.2 * calls + 10 * script.settings.reserve * windows
  const paid = ledger.again - ledger.spared
  if (paid > allowed) ledger.problem(`I-8 ${paid} retries, ${allowed} allowed`)
}

/** I-11: what the metrics say is what happened. */
export const metrics = (script: Script, all: ReadonlyArray<Metric.Metric.Snapshot>, ledger: Ledger): void => {
  const calls = script.steps.filter((step) => step._tag === "Call").length + probes
  let ended = 0
  let ok = 0
  for (const metric of all) {
    if (metric.id !== "grpc.client.call.duration" || metric.type !== "Histogram") continue
    ended += metric.state.count
    if (metric.attributes?.["grpc.status"] === "OK") ok += metric.state.count
  }
  // An interrupt may come before the call has got as far as its channel; and there are none of the probes after an end.
  const early = (ledger.outcomes["interrupted"] ?? 0) + probes
  if (ended > calls || ended < calls - early) ledger.problem(`I-11 ${ended} calls by the metrics, ${calls} were made`)
  if (ok > (ledger.outcomes["ok"] ?? 0) + early) ledger.problem(`I-11 ${ok} calls OK by the metrics`)
}

/** I-11: the events tell one story. */
export const events = (recorder: Recorder, ledger: Ledger): void => {
  recorder.envelopes.forEach((envelope, i) => {
    if (envelope.seq !== i) ledger.problem("I-11 events are not numbered without gaps")
  })
  const connected = recorder.of("Connected").length
  const ended = recorder.of("Disconnected").length + recorder.of("Closed").length
  if (connected !== ended) ledger.problem(`I-11 ${connected} Connected, ${ended} Disconnected or Closed`)
}
