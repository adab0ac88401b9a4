import { assert, describe, it } from "@effect/vitest"
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import * as net from "node:net"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { frame } from "../../examples/demo/frame.ts"
import { judge } from "../../examples/demo/judge.ts"
import { Ledger } from "../../examples/demo/ledger.ts"
import { Live } from "../../examples/demo/live.ts"
import type { Tick } from "../../examples/demo/messages.ts"
import { parse } from "../../examples/demo/options.ts"
import { colours, noColours } from "../../examples/demo/paint.ts"
import type { PhaseFigures, PhaseReport, Report } from "../../examples/demo/report.ts"
import { serverNames } from "../../examples/demo/stage.ts"
import { boundaries, story } from "../../examples/demo/story.ts"

const demo = fileURLToPath(new URL("../../examples/demo/demo.ts", import.meta.url))

describe("demo options", () => {
  const mistakes = (...argv: Array<string>): ReadonlyArray<string> => {
    const parsed = parse(argv)
    return parsed.tag === "mistakes" ? parsed.mistakes : []
  }

  it("has defaults", () => {
    assert.deepStrictEqual(parse([]), {
      tag: "options",
      options: { seconds: 48, rps: 500, json: false, help: false }
    })
  })

  it("takes values after a space and after an equals sign", () => {
    assert.deepStrictEqual(parse(["--seconds", "32", "--rps=300", "--json"]), {
      tag: "options",
      options: { seconds: 32, rps: 300, json: true, help: false }
    })
  })

  it("lists every mistake, each with its rule", () => {
    assert.deepStrictEqual(mistakes("--seconds", "5", "--rps", "NaN", "--speed", "--json=yes", "-x"), [
      '--seconds: must be a number from 32 to 3600, got "5"',
      '--rps: must be a whole number from 10 to 5000, got "NaN"',
      "--speed: unknown, must be one of --seconds N, --rps N, --json, --help",
      '--json: takes no value, got "yes"',
      "-x: unknown, must be one of --seconds N, --rps N, --json, --help"
    ])
  })

  it("wants a value, and each flag once", () => {
    assert.deepStrictEqual(mistakes("--rps", "--seconds", "40", "--seconds", "41", "--rps", ""), [
      "--rps: must be a whole number from 10 to 5000, got nothing",
      "--seconds: must be given at most once",
      '--rps: must be a whole number from 10 to 5000, got ""',
      "--rps: must be given at most once"
    ])
  })

  for (const value of ["31.9", "Infinity", "-40", "1e9", "forty", " "]) {
    it(`refuses --seconds ${JSON.stringify(value)}`, () => assert.lengthOf(mistakes("--seconds", value), 1))
  }

  it("ends with 64 and one error before anything starts", async () => {
    const child = spawn(process.execPath, [demo, "--seconds", "5", "--rps", "NaN", "--fast"])
    let output = ""
    let complaint = ""
    child.stdout.on("data", (chunk) => (output += chunk))
    child.stderr.on("data", (chunk) => (complaint += chunk))
    const [code] = await once(child, "close")
    assert.strictEqual(code, 64)
    assert.strictEqual(output, "")
    for (const flag of ["--seconds: must", "--rps: must", "--fast: unknown"]) assert.include(complaint, flag)
  })
})

describe("demo story", () => {
  it("shares the seconds out by weight", () => {
    assert.deepStrictEqual(boundaries(44), [4000, 8000, 12_000, 20_000, 24_000, 30_000, 38_000, 44_000])
  })
})

describe("demo ledger", () => {
  it("counts a call in the phase that it started in, and none while warming up", () => {
    const ledger = new Ledger()
    const early = ledger.start(performance.now())
    ledger.turn()
    const first = ledger.start(performance.now())
    ledger.turn()
    const second = ledger.start(performance.now())
    early({ tag: "answered", server: "x" })
    second({ tag: "answered", server: "x" })
    assert.isFalse(ledger.settled)
    first({ tag: "failed", why: "UNAVAILABLE" })
    assert.isTrue(ledger.settled)
    const { phases, total } = ledger.summary()
    assert.deepStrictEqual(
      phases.map(({ calls, failed }) => [calls, failed]),
      [
        [1, 1],
        [1, 0]
      ]
    )
    assert.deepStrictEqual([total.calls, total.failed], [2, 1])
    assert.deepStrictEqual(
      phases.map((phase) => [phase.answered, phase.failures]),
      [
        [{}, { UNAVAILABLE: 1 }],
        [{ x: 1 }, {}]
      ]
    )
  })
})

describe("demo screen", () => {
  const midway = () => {
    const live = new Live({ seconds: 48, rps: 5000 })
    const addresses = ["127.0.0.1:65533", "127.0.0.1:65534", "127.0.0.1:65535"]
    live.servers = () =>
      addresses.map((address, i) => ({ name: serverNames[i]!, address, port: 65_533 + i, state: "starting" }))
    live.begin()
    live.phase = 3
    const tick = (calls: number): Tick => ({
      tag: "tick",
      calls,
      failed: calls / 2,
      inFlight: 5000,
      answered: { [addresses[0]!]: calls / 2 },
      recent: [1234.5, 999.9],
      endpoints: addresses.map((address) => ({
        address,
        state: "Quarantined",
        connections: 4,
        inFlight: 100,
        latencyMillis: 1234.5
      })),
      events: [{ address: addresses[0], text: "has been silent for 214 ms" }]
    })
    for (const client of ["hawser", "raw"] as const) for (const n of [100_000, 240_000]) live.tick(client, tick(n))
    return live
  }

  it("fits into 80 columns and 24 rows, and shows the figures", () => {
    const lines = frame(midway(), 80, 24, noColours)
    assert.isAtMost(lines.length, 24)
    for (const line of lines) assert.isAtMost(line.length, 80, line)
    const text = lines.join("\n")
    for (const shown of [
      "5000 calls/s",
      "deadline 1 s",
      "frozen",
      "Quarantined",
      "240,000",
      "120,000 failed",
      "214 ms"
    ]) {
      assert.include(text, shown)
    }
  })

  it("has no escape codes without colours, and some with them", () => {
    assert.notInclude(frame(midway(), 80, 24, noColours).join(""), "\u001b")
    assert.include(frame(midway(), 80, 24, colours).join(""), "\u001b[31m")
  })

  it("leaves the older events out when there are few rows", () => {
    assert.lengthOf(frame(midway(), 80, 10, noColours), 10)
  })
})

describe("demo judge", () => {
  const figures = (change: Partial<PhaseFigures> = {}): PhaseFigures => ({
    calls: 1000,
    failed: 0,
    p50: 5,
    p99: 9,
    inFlightOnVictim: null,
    share: { x: 0.2, y: 0.4, z: 0.4 },
    ...change
  })
  const phases = (changes: Readonly<Record<string, Partial<PhaseReport>>>): ReadonlyArray<PhaseReport> =>
    story.map(({ name, victim }) => {
      const phase = figures(victim === undefined ? {} : { inFlightOnVictim: 2 })
      const failed = name === "frozen" ? 150 : 0
      return { name, hawser: phase, raw: { ...phase, failed }, ...changes[name] }
    })
  const report = (changes: Readonly<Record<string, Partial<PhaseReport>>> = {}, leftover = 0): Report => ({
    hawser: figures(),
    raw: figures(),
    phases: phases(changes),
    leftover
  })

  it("is content with a good run", () => assert.deepStrictEqual(judge(report()), { tag: "good" }))

  it("allows what it allows", () => {
    const verdict = judge(
      report({
        killed: { hawser: figures({ failed: 2, inFlightOnVictim: 2 }) },
        frozen: { hawser: figures({ failed: 5, inFlightOnVictim: 0 }), raw: figures({ failed: 150 }) },
        silent: { hawser: figures({ failed: 1, inFlightOnVictim: 1 }) }
      })
    )
    assert.deepStrictEqual(verdict, { tag: "good" })
  })

  const short: ReadonlyArray<readonly [line: string, report: Report]> = [
    [
      "frozen: Hawser failed 6 of 1000 calls (0.60 %), at most 0.50 % allowed",
      report({ frozen: { hawser: figures({ failed: 6 }) } })
    ],
    ...["killed", "silent"].map(
      (name) =>
        [
          `${name}: Hawser failed 3 calls, at most 2 (in flight on the victim) allowed`,
          report({ [name]: { hawser: figures({ failed: 3, inFlightOnVictim: 2 }) } })
        ] as const
    ),
    ...["calm", "restarted", "thawed", "slow", "all well"].map(
      (name) =>
        [
          `${name}: Hawser failed 1 calls, none allowed`,
          report({ [name]: { hawser: figures({ failed: 1 }) } })
        ] as const
    ),
    [
      "all well: x carried 19.00 % of Hawser's calls, at least 20.00 % expected",
      report({ "all well": { hawser: figures({ share: { x: 0.19, y: 0.41, z: 0.4 } }) } })
    ],
    ["leftover: 1 processes or listening ports outlived the run", report({}, 1)]
  ]
  for (const [line, fallen] of short) {
    it(`says "${line}"`, () => assert.deepStrictEqual(judge(fallen), { tag: "short", lines: [line] }))
  }

  it("names every line that fell short", () => {
    const verdict = judge(
      report({ calm: { hawser: figures({ failed: 1 }) }, slow: { hawser: figures({ failed: 2 }) } }, 3)
    )
    assert.lengthOf(verdict.tag === "short" ? verdict.lines : [], 3)
  })

  it("calls a run void whose freeze did not hurt the raw client, whatever Hawser did", () => {
    const verdict = judge(
      report({ frozen: { raw: figures({ failed: 149 }) }, calm: { hawser: figures({ failed: 1 }) } })
    )
    assert.deepStrictEqual(verdict, {
      tag: "void",
      lines: ["frozen: the raw client failed 14.90 % of its calls, at least 15.00 % expected"]
    })
  })

  it("calls a run void in which a client made no call", () => {
    assert.strictEqual(judge(report({ calm: { raw: figures({ calls: 0 }) } })).tag, "void")
  })
})

describe("demo interrupted", { concurrent: true }, () => {
  interface Running {
    readonly pid: number
    readonly exited: Promise<ReadonlyArray<unknown>>
    /** The first that fits. Never by its time: a busy machine says 0.1 where a quiet one says 0.0. */
    readonly line: (fits: RegExp) => Promise<string>
  }

  /** In a process group of its own, as a shell starts it. */
  const start = (): Running => {
    const child = spawn(process.execPath, [demo], { detached: true, stdio: ["ignore", "pipe", "inherit"] })
    const lines: Array<string> = []
    const output = createInterface(child.stdout).on("line", (line) => lines.push(line))
    return {
      pid: child.pid!,
      exited: once(child, "exit"),
      line: async (fits) => {
        while (true) {
          const found = lines.find((line) => fits.test(line))
          if (found !== undefined) return found
          await once(output, "line")
        }
      }
    }
  }
  interface Member {
    readonly pid: number
    readonly command: string
  }
  /** The living: an orphan that has ended may wait a while to be reaped. */
  const membersOf = (group: number): ReadonlyArray<Member> =>
    execFileSync("ps", ["-A", "-o", "pid=,pgid=,stat=,args="], { encoding: "utf8" })
      .split("\n")
      .map((row) => /^\s*(\d+)\s+(\d+)\s+([^Z\s]\S*)\s+(.*)$/.exec(row))
      .flatMap((row) => (row !== null && Number(row[2]) === group ? [{ pid: Number(row[1]), command: row[4]! }] : []))
  const freezeOneServer = (group: number) => {
    const server = membersOf(group).find(({ command }) => command.includes("server.ts"))
    assert.isDefined(server)
    process.kill(server!.pid, "SIGSTOP")
  }
  const portsOf = (line: string): ReadonlyArray<number> =>
    [...line.matchAll(/127\.0\.0\.1:(\d+)/g)].map((m) => Number(m[1]))
  const refuses = (port: number): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = net.connect(port, "127.0.0.1")
      socket.on("error", () => resolve(true))
      socket.on("connect", () => {
        socket.destroy()
        resolve(false)
      })
    })

  // Who hears of it first is a matter of luck: a child that dies of it, or the demo.
  it("leaves nothing when the group is interrupted while the servers start", { repeats: 7 }, async () => {
    const run = start()
    await run.line(/^\s*Two clients/)
    process.kill(-run.pid, "SIGINT")
    assert.deepStrictEqual(await run.exited, [130, null])
    assert.deepStrictEqual(membersOf(run.pid), [])
  })

  it("leaves nothing when the group is interrupted while a server is stopped", async () => {
    const run = start()
    const ports = portsOf(await run.line(/^\s*servers:/))
    assert.lengthOf(ports, 3)
    await run.line(/ s {2}calm/)
    freezeOneServer(run.pid)
    process.kill(-run.pid, "SIGINT")
    assert.deepStrictEqual(await run.exited, [130, null])
    assert.deepStrictEqual(membersOf(run.pid), [])
    assert.deepStrictEqual(await Promise.all(ports.map(refuses)), [true, true, true])
  })

  it("leaves nothing when the parent alone is killed while a server is stopped", async () => {
    const run = start()
    await run.line(/ s {2}calm/)
    freezeOneServer(run.pid)
    process.kill(run.pid, "SIGKILL")
    await run.exited
    // Nobody tells when orphans end.
    const limit = performance.now() + 2000
    while (membersOf(run.pid).length > 0 && performance.now() < limit) await new Promise((wake) => setTimeout(wake, 20))
    assert.deepStrictEqual(membersOf(run.pid), [])
  })
})
