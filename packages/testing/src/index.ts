/**
 * What tests need: channels without sockets.
 */
export * as TestChannel from "./TestChannel.ts"
