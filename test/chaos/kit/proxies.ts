/** Proxies, as the conductor has them. */
import { Effect, type Scope } from "effect"
import type { ProxyFaults } from "../../support/grpc/TcpProxy.ts"
import type { FromProxy, ToProxy } from "./messages.ts"
import type { Namespace } from "./namespaces.ts"
import { type ChildFailed, fork } from "./processes.ts"

export interface Proxy {
  /** `HOST:PORT` */
  readonly address: string
  readonly faults: (faults: ProxyFaults) => Effect.Effect<void, ChildFailed>
  /** Resets all connections. */
  readonly reset: Effect.Effect<void, ChildFailed>
  readonly count: Effect.Effect<{ readonly accepted: number; readonly open: number }, ChildFailed>
}

/** Starts a proxy before an address and waits until it listens. */
export const start = (
  to: string,
  { host = "127.0.0.1", namespace }: { readonly host?: string; readonly namespace?: Namespace } = {}
): Effect.Effect<Proxy, ChildFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* fork<ToProxy, FromProxy>(
      "proxy",
      "./proxy.ts",
      { host, port: 0, to },
      { namespace: namespace?.name }
    )
    const { port } = yield* child.hear("listening")
    return {
      address: `${host}:${port}`,
      faults: (faults) => Effect.asVoid(child.ask({ tag: "faults", faults }, "done")),
      reset: Effect.asVoid(child.ask({ tag: "reset" }, "done")),
      count: child.ask({ tag: "count" }, "count")
    }
  })
