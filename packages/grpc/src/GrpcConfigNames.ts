/**
 * Which names there are under a prefix, so that those which nobody reads can be told: a misspelt one has no effect, and
 * nothing else would say so.
 */
import type { OptionsIssue } from "@hawser/core/OptionsError"
import * as Config from "effect/Config"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { distance } from "./Spelling.ts"

/** Names of any depth. A provider of environment variables makes one level of each `_`. */
type Tree = string | undefined | { readonly [name: string]: Tree }
const Tree: Schema.Codec<Tree> = Schema.Union([
  Schema.Record(
    Schema.String,
    Schema.suspend((): Schema.Codec<Tree> => Tree)
  ),
  Schema.UndefinedOr(Schema.String)
])

const at = (path: ReadonlyArray<string>): Config.Config<Tree> =>
  Config.map(Config.option(Config.schema(Tree, path)), Option.getOrUndefined)

/** The names under a prefix, without it. */
export const under = (prefix: string): Config.Config<ReadonlyArray<string>> => {
  const parts = prefix.split("_")
  return Config.map(Config.all([at([prefix]), parts.length > 1 ? at(parts) : Config.succeed(undefined)]), (trees) => [
    ...new Set(trees.flatMap((tree) => flat(tree, "")))
  ])
}

/** Without the values: some are secrets. */
const flat = (tree: Tree, name: string): ReadonlyArray<string> =>
  typeof tree === "object"
    ? Object.entries(tree).flatMap(([key, inner]) => flat(inner, name === "" ? key : `${name}_${key}`))
    : name === ""
      ? []
      : [name]

/** What Kubernetes tells every container of a service. */
const kubernetes = /^(?:SERVICE_(?:HOST|PORT)(?:_.*)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/

/** The names that are not known, each as a problem. */
export const unknown = (
  prefix: string,
  names: ReadonlyArray<string>,
  known: ReadonlyArray<string>
): ReadonlyArray<OptionsIssue> =>
  names
    .filter((name) => !known.includes(name) && !kubernetes.test(name))
    .map((name) => {
      const close = known.find((one) => distance(one, name.toUpperCase()) <= 2)
      const rule =
        close === undefined
          ? `a name that is read; those under ${prefix} are ${known.join(", ")}`
          : `a name that is read; did you mean ${prefix}_${close}?`
      return { path: `${prefix}_${name}`, rule, value: "a name that nobody reads" }
    })
