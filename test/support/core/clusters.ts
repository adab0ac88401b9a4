import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Cluster from "@hawser/core/Cluster"
import type { ConnectError } from "@hawser/core/ConnectError"
import { Events } from "@hawser/core/Event"
import type { OptionsError } from "@hawser/core/OptionsError"
import type { Resolver } from "@hawser/core/Resolver"
import { monotonicMillis } from "@hawser/core/Time"
import { endpoint } from "./parts.ts"
import { Recorder } from "./Recorder.ts"
import { type Answer, type Dial, ScriptedConnector } from "./ScriptedConnector.ts"
import type { ScriptedSession } from "./ScriptedSession.ts"

/** A cluster over a scripted network. */
export interface TestCluster {
  readonly cluster: Cluster.Cluster<ScriptedSession, ConnectError>
  readonly connector: ScriptedConnector
  readonly recorder: Recorder
  readonly now: () => number
  /** The open connection to an endpoint: the oldest, if there are many. */
  readonly session: (address: string) => ScriptedSession
}

/** What a test chooses. */
export interface TestClusterOptions extends Partial<Omit<Cluster.ClusterOptions<ScriptedSession>, "endpoints">> {
  /** One endpoint at each address. Default `["a"]`. */
  readonly addresses?: ReadonlyArray<string>
  /** In place of `addresses`. */
  readonly resolver?: Resolver
  /** Default: every dial opens at once. */
  readonly script?: (dial: Dial) => Answer
  readonly limit?: number
}

/** Makes a cluster over a scripted network. */
export const make = Effect.fnUntraced(function* (
  options: TestClusterOptions = {}
): Effect.fn.Return<TestCluster, OptionsError, Scope.Scope> {
  const { addresses = ["a"], resolver, limit = 100, script = () => ({ _tag: "Open" }), ...rest } = options
  const clock = yield* Clock.Clock
  const connector = new ScriptedConnector(clock, script)
  connector.limit = limit
  const recorder = new Recorder()
  const cluster = yield* Cluster.make<ScriptedSession>({
    target: "test",
    // Tests leave borrows behind; nobody turns the clock for them at the end.
    drain: 0,
    endpoints: resolver ?? addresses.map((address) => endpoint(address)),
    connector: connector.connect,
    ...rest
  }).pipe(Effect.provideService(Events, recorder))
  const session = (address: string) => {
    const found = connector.sessions.find((s) => s.address === address)
    if (found === undefined) throw new Error(`no connection to ${address}`)
    return found
  }
  return { cluster, connector, recorder, now: () => monotonicMillis(clock), session }
})
