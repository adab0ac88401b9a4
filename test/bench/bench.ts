/**
 * `npm run bench`: what a call costs, against the raw grpc-js client on the same machine in the same minute, and whether
 * the bars of the design are met. Ends with exit code 1 when one is not.
 */
import { alone } from "./alone.ts"
import { type Bar, type BarId, judge, rules } from "./bars.ts"
import { guard } from "./children.ts"
import { type ClientName, clients, streamClients } from "./clients/clients.ts"
import { failing } from "./failing.ts"
import { imports } from "./imports.ts"
import { limit } from "./limit.ts"
import { type Measurement, type Options, parse, usage } from "./options.ts"
import { type Result, table } from "./result.ts"
import { build, type Built } from "./server/build.ts"
import { slow } from "./slow.ts"
import { streaming } from "./streaming.ts"
import { unary } from "./unary.ts"

const streams: ReadonlyArray<string> = streamClients
const contenders = (Object.keys(clients) as ReadonlyArray<ClientName>).filter((name) => !streams.includes(name))
const quickContenders: ReadonlyArray<ClientName> = ["createCall", "raw", "hawser"]

const run: Record<Measurement, (options: Options, built: () => Built) => Promise<Result>> = {
  unary: ({ quick, rounds, seconds }, built) =>
    unary(built(), {
      clients: quick ? quickContenders : contenders,
      rounds: rounds ?? (quick ? 10 : 16),
      generations: quick ? 2 : 4,
      seconds: seconds ?? (quick ? 0.2 : 0.3),
      // connect-node is at its fastest only after two seconds.
      warmSeconds: quick ? 0.8 : 2.4
    }),
  streaming: ({ quick, rounds, seconds }, built) =>
    streaming(built(), {
      rounds: rounds ?? (quick ? 6 : 12),
      generations: quick ? 1 : 4,
      seconds: seconds ?? (quick ? 0.15 : 0.3),
      warmSeconds: quick ? 0.6 : 1.2
    }),
  limit: ({ quick, rounds, seconds }, built) =>
    limit(built(), {
      rounds: rounds ?? (quick ? 2 : 3),
      seconds: seconds ?? (quick ? 1.25 : 3),
      warmSeconds: quick ? 1.5 : 3
    }),
  lease: ({ quick }) => alone("./lease.ts", quick),
  waiting: ({ quick }) => alone("./waiting.ts", quick),
  slow: ({ quick, rounds, seconds }, built) =>
    slow(built(), { rounds: rounds ?? (quick ? 5 : 7), seconds: seconds ?? (quick ? 1.5 : 3) }),
  failing: ({ quick, rounds, seconds }, built) =>
    failing(built(), { rounds: rounds ?? (quick ? 1 : 3), seconds: seconds ?? 6 }),
  imports: () => imports(),
  memory: ({ quick }, built) => {
    // Built and named here, so that the child finds it.
    built()
    return alone("./memory.ts", quick)
  }
}

const main = async (options: Options): Promise<number> => {
  const startedAt = performance.now()
  let server: Built | undefined
  const built = (): Built => {
    if (server !== undefined) return server
    server = build()
    console.log(`server: ${server.name}; client: Node ${process.versions.node}`)
    return server
  }
  const bars: Array<Bar> = []
  const rows: Array<Result["rows"][number]> = []
  for (const measurement of options.only) {
    const result = await run[measurement](options, built)
    console.log(`\n${table(result.rows)}`)
    rows.push(...result.rows)
    for (const [id, value] of Object.entries(result.values)) bars.push(judge(id as BarId, value, options.quick))
  }
  bars.sort((a, b) => order.indexOf(a.id) - order.indexOf(b.id))
  console.log(`\n${table(bars.map(describe))}`)
  console.log(`\n${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
  if (options.json) console.log(JSON.stringify({ bars, rows }))
  return bars.every((bar) => bar.ok) ? 0 : 1
}

const order = Object.keys(rules)

const describe = ({ bar, id, ok, value }: Bar) => ({
  bar: id,
  value,
  limit: `${rules[id].holds === "atMost" ? "≤" : "≥"} ${bar}`,
  met: ok ? "yes" : "NO",
  what: rules[id].what
})

const parsed = parse(process.argv.slice(2))
if ("problems" in parsed) {
  const { problems } = parsed
  console.error(`bench: ${problems.length} bad option${problems.length === 1 ? "" : "s"}`)
  for (const problem of problems) console.error(`  ${problem}`)
  console.error(usage)
  process.exitCode = 64
} else {
  guard()
  try {
    process.exitCode = await main(parsed.options)
  } catch (error) {
    console.error(error instanceof Error ? error.stack : error)
    process.exitCode = 1
  }
  process.exit()
}
