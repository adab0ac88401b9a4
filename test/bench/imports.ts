/**
 * B13: what `import "@hawser/grpc"` costs a process that has loaded grpc-js anyway, from the JavaScript that is published.
 */
import { mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { root } from "../check/sources.ts"
import { importCost } from "../packages/cost.ts"
import { bin, run, temporary } from "../packages/run.ts"
import { type Result, round } from "./result.ts"

/** What the package consists of, the one that needs no other first. */
const ours = ["core", "grpc"] as const

const writeJson = (file: string, value: unknown): void => {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, JSON.stringify(value))
}

/** A folder as of somebody who has installed it: the repository's own `dist` stays as it is. */
const installed = async (): Promise<string> => {
  const folder = realpathSync(temporary())
  const modules = join(folder, "node_modules")
  for (const [i, name] of ours.entries()) {
    const from = join(root, "packages", name)
    const to = join(modules, "@hawser", name)
    const { publishConfig, ...manifest } = JSON.parse(readFileSync(join(from, "package.json"), "utf8"))
    writeJson(join(to, "package.json"), { ...manifest, exports: publishConfig.exports })
    writeJson(join(folder, name, "tsconfig.json"), {
      extends: join(from, "tsconfig.json"),
      compilerOptions: {
        rootDir: join(from, "src"),
        outDir: join(to, "dist"),
        tsBuildInfoFile: join(folder, name, "tsconfig.tsbuildinfo"),
        typeRoots: [join(root, "node_modules/@types")]
      },
      include: [join(from, "src")],
      references: ours.slice(0, i).map((other) => ({ path: join(folder, other) }))
    })
  }
  const { ok, output } = await run(root, bin("tsc"), ["--build", ...ours.map((name) => join(folder, name))])
  if (!ok) throw new Error(output)
  mkdirSync(join(modules, "@grpc"))
  for (const peer of ["effect", "@grpc/grpc-js"]) {
    symlinkSync(realpathSync(join(root, "node_modules", peer)), join(modules, peer))
  }
  return folder
}

export const imports = async (): Promise<Result> => {
  const B13 = await importCost(await installed(), process.execPath, "@hawser/grpc")
  return {
    values: { B13 },
    rows: [{ measurement: "imports", what: "@hawser/grpc beyond grpc-js", millis: round(B13, 1) }]
  }
}
