/**
 * I-14: an endpoint that stays keeps its pool, its subchannels and its connections, whoever else comes and goes.
 */
import { name } from "@hawser/core/Endpoint"
import { Members } from "@hawser/core/Members"
import type { Pool } from "@hawser/core/Pool"
import type { Connection } from "@hawser/grpc/Connection"
import type { Watch } from "./watch.ts"

const belongings = (pool: Pool<Connection>): ReadonlyArray<unknown> => [
  pool,
  ...pool.all(),
  ...pool.all().map(({ current }) => current)
]

/** Starts watching. Returns what ends it. */
export const install = (watch: Watch): (() => void) => {
  const { resolved } = Members.prototype
  Members.prototype.resolved = function (update) {
    const pools = () => this.pools as ReadonlyArray<Pool<Connection>>
    const before = new Map(pools().map((pool) => [name(pool.endpoint), belongings(pool)]))
    watch.set = pools
    resolved.call(this, update)
    for (const pool of pools()) {
      const known = before.get(name(pool.endpoint))
      const now = belongings(pool)
      // It may have got more: whoever waits may go there now.
      if (known?.some((it) => !now.includes(it))) watch.problems.add("I-14 who stays has lost a connection")
    }
  }
  return () => {
    Members.prototype.resolved = resolved
  }
}
