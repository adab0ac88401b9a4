/**
 * Plays a share of the seeds in a process of its own, and tells how each went, a line each.
 *
 * `node worker.ts FROM COUNT STEP SCENARIO STOP`
 */
import { play } from "./play.ts"
import { draw, type ScenarioName } from "./script.ts"

const [from, count, step, scenario, stop] = process.argv.slice(2)
let failed = 0
for (let i = 0; i < Number(count); i++) {
  const outcome = await play(draw(Number(from) + i * Number(step), scenario as ScenarioName))
  console.log(JSON.stringify(outcome))
  if (outcome.problems.length > 0 && ++failed >= Number(stop)) break
}
