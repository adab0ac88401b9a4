/**
 * How a server of the virtual network answers one method.
 */
import type { Call } from "@hawser/grpc/Call"
import type { RpcError } from "@hawser/grpc/RpcError"
import { Issues, type OptionsIssue } from "@hawser/core/OptionsError"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Handlers, ServiceHandlers, Status } from "./Handler.ts"

/** How one method is answered. */
export interface Route {
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly requestDeserialize: (bytes: Buffer) => unknown
  readonly responseSerialize: (value: unknown) => Uint8Array
  readonly handler: (
    input: never,
    call: Call<unknown, unknown>
  ) => Effect.Effect<unknown, RpcError | Status> | Stream.Stream<unknown, RpcError | Status>
}

/** Routes by path. */
export type Routes = ReadonlyMap<string, Route>

/** Everything that is wrong with the handlers of a definition. */
export const issues = (definition: object, handlers: object): ReadonlyArray<OptionsIssue> => {
  const issues = new Issues()
  const methods = Object.entries<Partial<Route>>(definition as {})
  const names = methods.map(([name]) => name)
  for (const name of Object.keys(handlers)) {
    issues.check(names.includes(name), `handlers.${name}`, `one of ${names.join(", ")}`, name)
  }
  for (const [name, { requestDeserialize, responseSerialize }] of methods) {
    const ok = typeof requestDeserialize === "function" && typeof responseSerialize === "function"
    issues.check(ok, `definition.${name}`, "a method with the codecs of a server", "none")
  }
  return issues.list
}

/** The routes of a definition, for the methods that have a handler. */
export const ofService = <const S extends object>(definition: S, handlers: ServiceHandlers<S>): Routes => {
  const routes = new Map<string, Route>()
  const given = handlers as Readonly<Record<string, Route["handler"] | undefined>>
  for (const [name, method] of Object.entries<Route & { readonly path: string }>(definition as {})) {
    const handler = given[name]
    if (handler !== undefined) routes.set(method.path, { ...method, handler })
  }
  return routes
}

/** Routes whose messages are bytes; each says what kind of method it is. */
export const ofBytes = (
  handlers: Handlers,
  kind: (path: string) => { readonly requestStream: boolean; readonly responseStream: boolean }
): Routes =>
  new Map(
    Object.entries(handlers).map(([path, handler]) => [
      path,
      {
        ...kind(path),
        requestDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: (value: unknown) => value as Uint8Array,
        handler
      }
    ])
  )
