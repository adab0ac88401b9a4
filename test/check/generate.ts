/** `npm run generate`: writes the generated code from the .proto files; `npm run check` tells whether it is current. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join, relative } from "node:path"
import { pathToFileURL } from "node:url"
import { execute, fromFindings, type Outcome } from "./report.ts"
import { root } from "./sources.ts"

/** The texts of a folder's files, by path. */
export type Files = ReadonlyMap<string, string>

interface Command {
  readonly cwd: string
  readonly program: string
  readonly args: ReadonlyArray<string>
}

interface Target {
  /** The folder that holds generated code and nothing else. */
  readonly folder: string
  /** What writes it, below `out` in place of the repository's root. */
  readonly commands: (out: string) => ReadonlyArray<Command>
}

const buf = (cwd: string, ...args: ReadonlyArray<string>): Command => ({ cwd, program: "buf", args })

const targets: ReadonlyArray<Target> = [
  {
    folder: "test/generated",
    commands: (out) => [
      buf("test/proto", "lint"),
      buf("test/proto", "generate", "-o", join(out, "test/generated")),
      buf("test/proto", "generate", "--template", "buf.gen.others.yaml", "-o", join(out, "test/generated")),
      {
        cwd: "test/proto",
        program: "proto-loader-gen-types",
        args: [
          ...["--defaults", "--grpcLib=@grpc/grpc-js", "--importFileExtension=.ts"],
          ...["--outDir", join(out, "test/generated/proto-loader"), "echo.proto"]
        ]
      }
    ]
  },
  {
    folder: "examples/generated",
    commands: (out) => [
      buf("examples/proto", "lint", "--config", "../../test/proto/buf.yaml"),
      buf(
        "examples/proto",
        "generate",
        "--template",
        "../../test/proto/buf.gen.yaml",
        "-o",
        join(out, "examples/generated")
      )
    ]
  },
  {
    folder: "examples/installed/src/generated",
    commands: (out) => [
      buf("examples/installed", "lint"),
      buf("examples/installed", "generate", "-o", join(out, "examples/installed"))
    ]
  }
]

/** protobuf-ts imports its own files without extensions, as only bundlers can. */
export const withExtensions = (text: string): string => text.replace(/(from "\.[^"]*?)(?:\.ts)?"/g, '$1.ts"')

const read = (folder: string): Files =>
  new Map(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [relative(folder, path).replaceAll("\\", "/"), readFileSync(path, "utf8")])
  )

/** Runs `f` with a folder below which all code has been generated anew; without network, and without a home. */
const withFresh = async (f: (out: string) => Outcome): Promise<Outcome> => {
  const out = mkdtempSync(join(tmpdir(), "hawser-generated-"))
  const env = {
    BUF_CACHE_DIR: join(out, "cache"),
    // Where buf finds the generators.
    PATH: [join(root, "node_modules/.bin"), process.env.PATH].join(delimiter)
  }
  try {
    for (const { args, cwd, program } of targets.flatMap(({ commands }) => commands(out))) {
      const { ok, output } = await execute(program, args, { cwd, env, timeoutMillis: 60_000 })
      if (!ok) return { ok, output: `${cwd}: ${program} ${args[0]}\n${output}` }
    }
    const bundled = join(out, "test/generated/protobuf-ts")
    for (const [path, text] of read(bundled)) writeFileSync(join(bundled, path), withExtensions(text))
    return f(out)
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
}

/** One line for each file of `folder` that is not as it would be generated now. */
export const compare = (folder: string, committed: Files, fresh: Files): ReadonlyArray<string> => [
  ...[...fresh].flatMap(([path, text]) =>
    committed.get(path) === text
      ? []
      : [`${folder}/${path} ${committed.has(path) ? "is not current" : "is missing"}: npm run generate`]
  ),
  ...[...committed.keys()].flatMap((path) =>
    fresh.has(path) ? [] : [`${folder}/${path} comes from no .proto file: npm run generate`]
  )
]

/** Whether the code is what its .proto files give, byte by byte. */
export const current = (): Promise<Outcome> =>
  withFresh((out) =>
    fromFindings(targets.flatMap(({ folder }) => compare(folder, read(join(root, folder)), read(join(out, folder)))))
  )

/** Replaces the folders, so that nothing is left of a .proto file that is gone. */
const write = (): Promise<Outcome> =>
  withFresh((out) => {
    for (const { folder } of targets) {
      rmSync(join(root, folder), { recursive: true, force: true })
      cpSync(join(out, folder), join(root, folder), { recursive: true })
    }
    return { ok: true, output: targets.map(({ folder }) => folder).join("\n") }
  })

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { ok, output } = await write()
  console.log(output)
  process.exitCode = ok ? 0 : 1
}
