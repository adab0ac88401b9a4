/** `npm run check`: everything about the code that can be told without running it. */
import { typecheck } from "../docs/extract.ts"
import { judge as effectDiagnostics } from "./effect.ts"
import { floors, siblings } from "./floors.ts"
import { execute, fromFindings, report } from "./report.ts"
import * as Rules from "./rules.ts"
import { files, read, sources } from "./sources.ts"

const modules = () => sources().map(read)
const written = () =>
  files("packages", "examples", "test")
    .filter((path) => !path.endsWith(".test.ts"))
    .map(read)

await report([
  { name: "types", run: () => execute("tsc", ["--noEmit", "-p", "tsconfig.json"]) },
  { name: "docs", run: typecheck },
  {
    name: "lint",
    run: () => execute("oxlint", ["--deny-warnings", "--report-unused-disable-directives", "--format", "unix"])
  },
  { name: "format", run: () => execute("oxfmt", ["--list-different"]) },
  {
    name: "effect",
    run: () =>
      execute("effect-tsgo", ["diagnostics", "--project", "tsconfig.json", "--format", "text"]).then(effectDiagnostics)
  },
  { name: "floors", run: () => fromFindings(Rules.floors(modules(), floors, siblings)) },
  { name: "cycles", run: () => fromFindings(Rules.cycles(modules())) },
  { name: "forbidden", run: () => fromFindings(Rules.forbidden(modules())) },
  { name: "size", run: () => fromFindings(Rules.size(written())) },
  { name: "exports", run: () => fromFindings(Rules.exports(modules())) }
])
