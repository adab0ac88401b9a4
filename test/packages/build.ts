/** `npm run build`: what is published, into the `dist` of each package. */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import type { Outcome } from "../check/report.ts"
import { root } from "../check/sources.ts"
import { bin, names, run } from "./run.ts"

/** Builds from nothing, half a second: a module that was removed or renamed must leave nothing behind. */
export const build = (): Promise<Outcome> => {
  for (const name of names) rmSync(join(root, "packages", name, "dist"), { recursive: true, force: true })
  return run(root, bin("tsc"), ["--build", ...names.map((name) => `packages/${name}`)])
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { ok, output } = await build()
  if (output !== "") console.log(output)
  process.exitCode = ok ? 0 : 1
}
