/** `npm run check`: everything about the code that can be told without running it. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { extract, typecheck } from "../docs/extract.ts"
import { judge as effectDiagnostics } from "./effect.ts"
import { floors, siblings } from "./floors.ts"
import * as Generate from "./generate.ts"
import { execute, fromFindings, report } from "./report.ts"
import * as Rules from "./rules.ts"
import { files, read, root, sources } from "./sources.ts"

const modules = () => sources().map(read)
const written = () =>
  files("packages", "examples", "test")
    .filter((path) => !path.endsWith(".test.ts"))
    .map(read)
const documents = () =>
  ["", "packages/core/", "packages/grpc/", "packages/testing/"]
    .map((folder) => readFileSync(join(root, folder, "README.md"), "utf8"))
    .join("\n")

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
  { name: "generated", run: Generate.current },
  { name: "floors", run: () => fromFindings(Rules.floors(modules(), floors, siblings)) },
  { name: "cycles", run: () => fromFindings(Rules.cycles(modules())) },
  { name: "forbidden", run: () => fromFindings(Rules.forbidden(modules())) },
  { name: "size", run: () => fromFindings(Rules.size(written())) },
  { name: "exports", run: () => fromFindings(Rules.exports(modules())) },
  { name: "examples", run: () => fromFindings(Rules.examples(modules(), extract(), documents())) }
])
