/**
 * The demo's child processes, as one family with one end: whatever way the demo ends, everyone is killed. Always with
 * SIGKILL, as a stopped process ends by nothing else.
 */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import * as net from "node:net"
import { fileURLToPath } from "node:url"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { FromWatchdog, ToWatchdog } from "./messages.ts"

export class ChildFailed extends Data.TaggedError("ChildFailed")<{ readonly child: string; readonly how: string }> {
  override get message(): string {
    return `the process "${this.child}" ${this.how}`
  }
}

interface Message {
  readonly tag: string
}

export interface Child<in In extends Message, Out extends Message> {
  readonly tell: (message: In) => Effect.Effect<void>
  /** The next message with this tag. Listens from the moment that it runs. */
  readonly hear: <Tag extends Out["tag"]>(tag: Tag) => Effect.Effect<Extract<Out, { readonly tag: Tag }>, ChildFailed>
  /** Tells, and hears the answer. */
  readonly ask: <Tag extends Out["tag"]>(
    message: In,
    tag: Tag
  ) => Effect.Effect<Extract<Out, { readonly tag: Tag }>, ChildFailed>
  readonly listen: (listener: (message: Out) => void) => void
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Ends when the process is gone. */
  readonly kill: Effect.Effect<void>
}

export class Processes extends Context.Service<
  Processes,
  {
    readonly start: <In extends Message, Out extends Message>(
      name: string,
      file: string,
      config?: object
    ) => Effect.Effect<Child<In, Out>>
    /** Fails as soon as a child ends that nobody killed. */
    readonly trouble: Effect.Effect<never, ChildFailed>
    /** Kills all, then counts what is left: processes, and ports that still listen. The demo makes no temporary files. */
    readonly finish: (ports: ReadonlyArray<number>) => Effect.Effect<number>
  }
>()("demo/Processes") {
  static readonly layer = Layer.effect(
    Processes,
    Effect.suspend(() => make)
  )
}

const patience = "20 seconds"

/** What a terminal sends to everybody at once. A child may die of it before we hear of it ourselves, and is no trouble then. */
const shared: ReadonlySet<NodeJS.Signals | null> = new Set(["SIGINT", "SIGTERM", "SIGHUP"])
const unlessForAll = (signal: NodeJS.Signals | null, fail: () => void): void => {
  if (shared.has(signal)) setTimeout(fail, 1_000)
  else fail()
}

const make = Effect.gen(function* () {
  const all: Array<ChildProcess> = []
  const trouble = yield* Deferred.make<never, ChildFailed>()

  const signalAll = () => all.forEach((child) => isAlive(child) && child.kill("SIGKILL"))
  // For the ends that no finalizer sees: an uncaught exception, a hang-up, `process.exit`.
  process.on("exit", signalAll)
  const killAll = Effect.suspend(() => {
    signalAll()
    return Effect.forEach(all, end, { concurrency: "unbounded", discard: true })
  })
  yield* Effect.addFinalizer(() => killAll)

  const begin = <In extends Message, Out extends Message>(name: string, file: string, config: object) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL(file, import.meta.url)), JSON.stringify(config)], {
      stdio: ["ignore", "ignore", "pipe", "ipc"]
    })
    all.push(child)
    let complaint = ""
    child.stderr?.on("data", (chunk) => (complaint = (complaint + chunk).slice(-2000)))
    const failed = (how: string) =>
      new ChildFailed({ child: name, how: complaint === "" ? how : `${how}:\n${complaint}` })
    child.on("error", (error) => Deferred.doneUnsafe(trouble, Effect.fail(failed(`failed: ${error.message}`))))
    child.on("exit", (code, signal) => {
      if (child.killed) return
      const fail = () => Deferred.doneUnsafe(trouble, Effect.fail(failed(`ended by itself (${signal ?? code})`)))
      unlessForAll(signal, fail)
    })

    const hear = <Tag extends Out["tag"]>(tag: Tag, first?: () => void) =>
      Effect.callback<Extract<Out, { readonly tag: Tag }>, ChildFailed>((resume) => {
        const onMessage = (message: Out) => {
          if (message.tag !== tag) return
          off()
          resume(Effect.succeed(message as Extract<Out, { readonly tag: Tag }>))
        }
        const onExit = (_: number | null, signal: NodeJS.Signals | null) => {
          off()
          unlessForAll(signal, () => resume(Effect.fail(failed("ended before it answered"))))
        }
        const off = () => child.off("message", onMessage).off("exit", onExit)
        child.on("message", onMessage).on("exit", onExit)
        first?.()
        return Effect.sync(off)
      }).pipe(
        Effect.timeoutOrElse({
          duration: patience,
          orElse: () => Effect.fail(failed(`said no "${tag}" in ${patience}`))
        })
      )
    // The callback takes the error of a message to a process that has just ended: its exit says the same, better.
    const post = (message: In) => void (child.connected && child.send(message, () => {}))

    return {
      pid: child.pid,
      child: {
        tell: (message) => Effect.sync(() => post(message)),
        hear,
        ask: (message, tag) => hear(tag, () => post(message)),
        listen: (listener) => child.on("message", listener),
        signal: (signal) => Effect.sync(() => process.kill(child.pid!, signal)),
        kill: end(child)
      } satisfies Child<In, Out>
    }
  }

  const watchdog = begin<ToWatchdog, FromWatchdog>("watchdog", "./watchdog.ts", {}).child
  yield* watchdog.hear("ready")

  return Processes.of({
    start: <In extends Message, Out extends Message>(name: string, file: string, config: object = {}) =>
      Effect.suspend(() => {
        const { child, pid } = begin<In, Out>(name, file, config)
        return Effect.as(pid === undefined ? Effect.void : watchdog.tell({ tag: "watch", pid }), child)
      }),
    trouble: Deferred.await(trouble),
    finish: (ports) =>
      Effect.gen(function* () {
        yield* killAll
        const listening = yield* Effect.filter(ports, isListening, { concurrency: "unbounded" })
        return all.filter(isAlive).length + listening.length
      })
  })
})

const isAlive = (child: ChildProcess): boolean =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null

const end = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (!isAlive(child)) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

const isListening = (port: number): Effect.Effect<boolean> =>
  Effect.callback<boolean>((resume) => {
    const socket = net.connect(port, "127.0.0.1")
    socket.on("connect", () => {
      socket.destroy()
      resume(Effect.succeed(true))
    })
    socket.on("error", () => resume(Effect.succeed(false)))
  })
