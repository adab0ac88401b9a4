/** What importing a package costs a process that has loaded grpc-js anyway. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { run } from "./run.ts"

const program = `
const begun = performance.now()
await import(process.argv[2])
console.log(performance.now() - begun)
`

/** The median of nine pairs of fresh processes, in milliseconds: one imports `specifier`, the other grpc-js alone. */
export const importCost = async (folder: string, node: string, specifier: string): Promise<number> => {
  const file = join(folder, "cost.mjs")
  writeFileSync(file, program)
  const millis = async (what: string): Promise<number> => {
    const { ok, output } = await run(folder, node, [file, what])
    if (!ok || !(Number(output) > 0)) throw new Error(output)
    return Number(output)
  }
  const pairs: Array<number> = []
  // The first pair reads the files from the disk, the others from the cache of the system.
  for (let round = 0; round < 10; round++) pairs.push((await millis(specifier)) - (await millis("@grpc/grpc-js")))
  return pairs.slice(1).toSorted((a, b) => a - b)[4]!
}
