/** Every client by name; imported lazily, so that a process loads only its own. */
import type { Connect } from "../client.ts"

export const clients = {
  raw: async () => (await import("./raw.ts")).connect,
  createCall: async () => (await import("./createCall.ts")).connect,
  http2: async () => (await import("./http2.ts")).connect,
  niceGrpc: async () => (await import("./niceGrpc.ts")).connect,
  effect: async () => (await import("./effect.ts")).connect,
  hawser: async () => (await import("./hawser.ts")).connect,
  hawserPromise: async () => (await import("./hawser.ts")).connectPromise
} satisfies Record<string, () => Promise<Connect>>

export type ClientName = keyof typeof clients

export const titles: Record<ClientName, string> = {
  raw: "raw grpc-js",
  createCall: "Channel.createCall",
  http2: "node:http2 by hand",
  niceGrpc: "nice-grpc",
  effect: "Effect over createCall",
  hawser: "Hawser",
  hawserPromise: "Hawser, runPromise per call"
}
