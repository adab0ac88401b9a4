/** What Hawser tells about itself, in the words of the screen. */
import type { Event } from "@hawser/core/Event"
import type { Snapshot } from "@hawser/core/Upstream"
import type { EndpointView, EventView } from "./messages.ts"

const stateOf = ({ children, connectivity, details }: Snapshot): string => {
  if (connectivity === "TransientFailure") return "Unreachable"
  if (connectivity !== "Ready") return connectivity
  const live = children.filter((child) => child.connectivity === "Ready")
  if (live.length > 0 && live.every((child) => child.details["quarantined"] === true)) return "Quarantined"
  return details["penalised"] === true ? "Ejected" : "Ready"
}

/** One line per endpoint, from the tree of everything. */
export const endpoints = (root: Snapshot): ReadonlyArray<EndpointView> => {
  if (root.kind !== "pool") return root.children.flatMap(endpoints)
  const { children, details, inFlight, name } = root
  const latency = details["latencyMillis"]
  return [
    {
      address: name,
      state: stateOf(root),
      connections: children.filter((child) => child.connectivity === "Ready").length,
      inFlight,
      latencyMillis: typeof latency === "number" && latency > 0 ? latency : undefined
    }
  ]
}

/** A line for what a watcher wants to know, nothing for the rest. */
export const describe = (event: Event): ReadonlyArray<EventView> => {
  const text = textOf(event)
  return text === undefined ? [] : [{ address: "endpoint" in event ? event.endpoint : undefined, text }]
}

const textOf = (event: Event): string | undefined => {
  switch (event._tag) {
    case "Connected":
      return `connected in ${event.millis.toFixed(0)} ms`
    case "ConnectFailed":
      return `can't be reached, next attempt in ${(event.retryInMillis / 1000).toFixed(1)} s`
    case "Disconnected":
      return `has lost its connection, with ${event.inFlight} calls in flight`
    case "Quarantined":
      return `has been silent for ${event.silentMillis.toFixed(0)} ms and gets no calls for now`
    case "Recovered":
      return `is heard again after ${event.silentMillis.toFixed(0)} ms`
    case "Closed":
      return `has a connection less (${event.why})`
    case "Ejected":
      return `is left out (${event.rule})`
    case "Readmitted":
      return "is taken back"
    case "Panic":
      return event.on ? "too few servers are well: all are used" : "enough servers are well again"
    default:
      return undefined
  }
}
