/** `npm run examples`: every file of examples/ runs to its end and exits 0 within a minute. */
import { execute, report } from "./report.ts"
import { files } from "./sources.ts"

await report(
  files("examples")
    .filter((path) => /^examples\/[^/]+\.ts$/.test(path))
    .map((path) => ({ name: path, run: () => execute("node", [path], { timeoutMillis: 60_000 }) }))
)
