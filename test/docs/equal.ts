/** What `// =>` in an example means. */
import { deepStrictEqual } from "node:assert/strict"

export const equal = (actual: unknown, expected: unknown): void => deepStrictEqual(actual, expected)
