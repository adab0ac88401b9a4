/** Every client by name; imported lazily, so that a process loads only its own. */
import type { Connect } from "../client.ts"

// In the order in which they run: the raw client beside those that its figures judge.
export const clients = {
  http2: async () => (await import("./http2.ts")).connect,
  createCall: async () => (await import("./createCall.ts")).connect,
  effect: async () => (await import("./effect.ts")).connect,
  raw: async () => (await import("./raw.ts")).connect,
  hawser: async () => (await import("./hawser.ts")).connect,
  hawserTraced: async () => (await import("./hawserTraced.ts")).connect,
  hawserPromise: async () => (await import("./hawser.ts")).connectPromise,
  niceGrpc: async () => (await import("./niceGrpc.ts")).connect,
  grpcGcp: async () => (await import("./grpcGcp.ts")).connect,
  connectNode: async () => (await import("./connectNode.ts")).connect,
  createCallStreams: async () => (await import("./createCall.ts")).connectStreams,
  rawStreams: async () => (await import("./raw.ts")).connectStreams,
  hawserStreams: async () => (await import("./hawser.ts")).connectStreams,
  connectNodeStreams: async () => (await import("./connectNode.ts")).connectStreams
} satisfies Record<string, () => Promise<Connect>>

export type ClientName = keyof typeof clients

/** Those that read streams; the others make unary calls. */
export const streamClients = ["createCallStreams", "rawStreams", "hawserStreams", "connectNodeStreams"] as const
export type StreamClientName = (typeof streamClients)[number]

export const titles: Record<ClientName, string> = {
  http2: "node:http2 by hand",
  createCall: "Channel.createCall",
  effect: "Effect over createCall",
  raw: "raw grpc-js",
  hawser: "Hawser",
  hawserTraced: "Hawser, every call traced",
  hawserPromise: "Hawser, runPromise per call",
  niceGrpc: "nice-grpc",
  grpcGcp: "grpc-gcp",
  connectNode: "connect-node",
  createCallStreams: "Channel.createCall, no backpressure",
  rawStreams: "raw grpc-js, data events",
  hawserStreams: "Hawser, Stream.runForEach",
  connectNodeStreams: "connect-node, for await"
}
