/** The story in plain lines, for whatever is not a terminal. */
import type { Live } from "./live.ts"
import { story } from "./story.ts"

export const narrate = (live: Live, say: (line: string) => void): void => {
  const stamp = (millis: number): string => `${(millis / 1000).toFixed(1).padStart(6)} s`
  live.turned = () => {
    const addresses = live.servers().map(({ address, name }) => `${name} ${address}`)
    if (live.phase === 0) say(`servers: ${addresses.join(", ")}`)
    const failed = (["hawser", "raw"] as const).map((name) => `${name} ${live[name].now?.failed ?? 0}`).join(", ")
    const phase = story[live.phase]
    const text = phase === undefined ? "the story is over" : `${phase.name.padEnd(10)} ${phase.what}`
    say(`${stamp(live.elapsedMillis)}  ${text}${live.phase > 0 ? ` (failed so far: ${failed})` : ""}`)
  }
  live.told = ({ atMillis, text }) => say(`${stamp(atMillis)}    ${text}`)
}
