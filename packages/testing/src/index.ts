/**
 * What tests need: channels without sockets, a network under virtual time, and servers on real sockets.
 */
export * as Faults from "./Faults.ts"
export * as Simulation from "./Simulation.ts"
export * as TestChannel from "./TestChannel.ts"
export * as TestConnector from "./TestConnector.ts"
export * as TestNetwork from "./TestNetwork.ts"
export * as TestServer from "./TestServer.ts"
export * as TestUpstream from "./TestUpstream.ts"
