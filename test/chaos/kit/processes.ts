/**
 * Child processes that end with the scope that started them, whatever way that closes. Always with SIGKILL: a stopped
 * process ends by nothing else.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Data, Effect, type Scope } from "effect"
import { own } from "../../bench/children.ts"

export class ChildFailed extends Data.TaggedError("ChildFailed")<{ readonly child: string; readonly how: string }> {
  override get message(): string {
    return `the process "${this.child}" ${this.how}`
  }
}

interface Message {
  readonly tag: string
}

/** A process that is spoken to. */
export interface Child<in In extends Message, Out extends Message> {
  readonly pid: number
  readonly tell: (message: In) => Effect.Effect<void>
  /** The next message with this tag, from the moment that it runs. */
  readonly hear: <Tag extends Out["tag"]>(
    tag: Tag,
    seconds?: number
  ) => Effect.Effect<Extract<Out, { readonly tag: Tag }>, ChildFailed>
  /** Tells, and hears the answer. */
  readonly ask: <Tag extends Out["tag"]>(
    message: In,
    tag: Tag,
    seconds?: number
  ) => Effect.Effect<Extract<Out, { readonly tag: Tag }>, ChildFailed>
  readonly listen: (listener: (message: Out) => void) => void
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Ends when the process is gone. */
  readonly kill: Effect.Effect<void>
}

/** Where and how a process runs. */
export interface Surroundings {
  /** The name of a network namespace. */
  readonly namespace?: string | undefined
  /** Gets all that it prints; default: what goes to stderr is kept for its error. */
  readonly output?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Of Node. */
  readonly flags?: ReadonlyArray<string> | undefined
}

/** A command line that runs in a namespace, if there is one. */
export const inside = (
  namespace: string | undefined,
  command: ReadonlyArray<string>
): readonly [string, Array<string>] => {
  const [first = "", ...rest] = namespace === undefined ? command : ["ip", "netns", "exec", namespace, ...command]
  return [first, rest]
}

/** Starts a program that says nothing. */
export const start = (
  name: string,
  command: ReadonlyArray<string>,
  { namespace, output }: Surroundings = {}
): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const file = output === undefined ? ("ignore" as const) : openSync(output, "a")
      const [program, args] = inside(namespace, command)
      const child = own(spawn(program, args, { stdio: ["ignore", file, file] }))
      if (file !== "ignore") closeSync(file)
      child.once("error", (error) => console.error(`${name}: ${error.message}`))
      return child
    }),
    end
  )

/** Starts one of our own modules in a process of its own. */
export const fork = <In extends Message, Out extends Message>(
  name: string,
  file: string,
  config: object,
  { env, flags = [], namespace, output }: Surroundings = {}
): Effect.Effect<Child<In, Out>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const path = fileURLToPath(new URL(file, import.meta.url))
        const [program, args] = inside(namespace, [process.execPath, ...flags, path, JSON.stringify(config)])
        const out = output === undefined ? ("pipe" as const) : openSync(output, "a")
        const child = own(spawn(program, args, { stdio: ["ignore", out, out, "ipc"], env: { ...process.env, ...env } }))
        if (out !== "pipe") closeSync(out)
        return child
      }),
      end
    ),
    (child) => speaking(name, child)
  )

const speaking = <In extends Message, Out extends Message>(name: string, child: ChildProcess): Child<In, Out> => {
  let complaint = ""
  child.stdout?.resume()
  child.stderr?.on("data", (chunk) => (complaint = (complaint + chunk).slice(-2_000)))
  child.setMaxListeners(0)
  child.on("error", (error) => (complaint += error.message))
  const failed = (how: string) =>
    new ChildFailed({ child: name, how: complaint === "" ? how : `${how}:\n${complaint}` })
  const hear = <Tag extends Out["tag"]>(tag: Tag, seconds = 20, first?: () => void) =>
    Effect.callback<Extract<Out, { readonly tag: Tag }>, ChildFailed>((resume) => {
      const onMessage = (message: Out) => {
        if (message.tag !== tag) return
        off()
        resume(Effect.succeed(message as Extract<Out, { readonly tag: Tag }>))
      }
      const onExit = () => {
        off()
        resume(Effect.fail(failed(`ended before it said "${tag}"`)))
      }
      const off = () => child.off("message", onMessage).off("exit", onExit)
      if (!isAlive(child)) return resume(Effect.fail(failed(`had ended, and can't say "${tag}"`)))
      child.on("message", onMessage).on("exit", onExit)
      first?.()
      return Effect.sync(off)
    }).pipe(
      Effect.timeoutOrElse({
        duration: `${seconds} seconds`,
        orElse: () => Effect.fail(failed(`said no "${tag}" in ${seconds} s`))
      })
    )
  // The callback takes the error of a message to a process that has just ended.
  const post = (message: In) => void (child.connected && child.send(message, () => {}))
  return {
    pid: child.pid ?? 0,
    tell: (message) => Effect.sync(() => post(message)),
    hear,
    ask: (message, tag, seconds) => hear(tag, seconds, () => post(message)),
    listen: (listener) => void child.on("message", listener),
    signal: (signal) => Effect.sync(() => void child.kill(signal)),
    kill: end(child)
  }
}

const isAlive = (child: ChildProcess): boolean =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null

/** Ends when the process is gone. */
export const end = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (!isAlive(child)) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })
