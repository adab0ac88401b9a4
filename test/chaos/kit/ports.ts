/** Ports of programs that don't say when they listen. */
import * as net from "node:net"
import { Effect } from "effect"
import { ChildFailed } from "./processes.ts"

/** A port that was free a moment ago. */
export const free: Effect.Effect<number> = Effect.callback((resume) => {
  const server = net.createServer()
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** Waits until somebody accepts there. */
export const listening = (host: string, port: number): Effect.Effect<void, ChildFailed> =>
  Effect.callback<boolean>((resume) => {
    const socket = net.connect(port, host)
    socket.on("connect", () => {
      socket.destroy()
      resume(Effect.succeed(true))
    })
    socket.on("error", () => resume(Effect.succeed(false)))
  }).pipe(
    Effect.delay("20 millis"),
    Effect.repeat({ until: (accepts) => accepts }),
    Effect.timeoutOrElse({
      duration: "10 seconds",
      orElse: () => Effect.fail(new ChildFailed({ child: `${host}:${port}`, how: "does not listen" }))
    }),
    Effect.asVoid
  )
