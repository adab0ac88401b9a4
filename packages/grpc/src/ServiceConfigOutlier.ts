/**
 * gRPC's `outlier_detection` policy in a service config (gRFC A50): an outlier policy around another balancing policy.
 */
import { OptionsError, type OptionsIssue, show } from "@hawser/core/OptionsError"
import * as Outlier from "@hawser/core/Outlier"
import * as Duration from "./ServiceConfigDuration.ts"

/** What it is called: by grpc-go, grpc-java and C-core, and by grpc-js. */
export const names: ReadonlyArray<string> = ["outlier_detection_experimental", "outlier_detection"]

/** What was found in it. */
export interface Detection {
  /** `false` where it has no rule: then gRPC does nothing, too. */
  readonly outlier: Outlier.Outlier | false
  /** The policies that it stands around. */
  readonly child: ReadonlyArray<unknown>
  /** Where those stand. */
  readonly childAt: string
}

type Fields = Readonly<Record<string, unknown>>

const durations = ["interval", "baseEjectionTime", "maxEjectionTime"]
const rules = ["successRateEjection", "failurePercentageEjection"]
const isObject = (u: unknown): u is Fields => typeof u === "object" && u !== null && !Array.isArray(u)
/** Protobuf's JSON takes both spellings. */
const camel = (key: string): string => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

/** Reads the settings of the policy, or says everything that is wrong with them. */
export const detectionOf = (
  settings: Fields,
  path: string
): Detection | { readonly issues: ReadonlyArray<OptionsIssue> } => {
  const issues: Array<OptionsIssue> = []
  const options: Record<string, unknown> = {}
  const written = new Map<string, string>()
  let child: ReadonlyArray<unknown> = []
  let childAt = `${path}.childPolicy`
  for (const [key, value] of Object.entries(settings)) {
    const name = camel(key)
    const at = `${path}.${key}`
    written.set(name, key)
    if (name === "childPolicy") {
      childAt = at
      if (Array.isArray(value)) child = value
    } else if (durations.includes(name)) {
      const rule = Duration.problem(value, true)
      if (rule === undefined) options[name] = Duration.millisOf(value)
      else issues.push({ path: at, rule, value: show(value) })
    } else if (rules.includes(name) && isObject(value)) {
      options[name] = Object.fromEntries(
        Object.entries(value).map(([inner, setting]) => {
          written.set(`${name}.${camel(inner)}`, `${key}.${inner}`)
          return [camel(inner), setting]
        })
      )
    } else options[name] = value
  }
  if (child.length === 0) {
    issues.push({ path: childAt, rule: 'a policy to stand around, such as [{ "round_robin": {} }]', value: "none" })
  }
  const some = rules.some((rule) => options[rule] !== undefined)
  try {
    // Without a rule the rest is checked all the same.
    const policy = Outlier.a50(some ? options : { ...options, successRateEjection: {} })
    if (issues.length > 0) return { issues }
    return { outlier: some && policy, child, childAt }
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error
    const found = error.issues.map((issue) => ({ ...issue, path: `${path}.${written.get(issue.path) ?? issue.path}` }))
    return { issues: [...issues, ...found] }
  }
}
