import { defineConfig } from "vitest/config"

/** What deals with sockets, processes and real time: alone on the machine, so that it sees no stalls but its own. */
const real = ["test/integration/**/*.test.ts", "test/packages/**/*.test.ts", "test/unit/{bench,check}/**/*.test.ts"]

export default defineConfig({
  test: {
    testTimeout: 30_000,
    projects: [
      // Under virtual time: nothing depends on who else is busy.
      {
        extends: true,
        test: {
          name: "virtual",
          include: ["test/**/*.test.ts"],
          exclude: ["**/node_modules/**", ...real],
          maxWorkers: 2,
          sequence: { groupOrder: 1 }
        }
      },
      { extends: true, test: { name: "real", include: real, maxWorkers: 1, sequence: { groupOrder: 2 } } }
    ]
  }
})
