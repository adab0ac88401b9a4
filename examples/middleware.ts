import { Auth, CallLog, CallTracing, Channel, Client, Credentials, Grpc } from "@hawser/grpc"
import { Metadata, RequestId } from "@hawser/grpc"
import { Console, Context, Effect, Layer, Redacted } from "effect"
import { GreeterService } from "./generated/greeter.ts"
import { greeters } from "./support/greeters.ts"

class Greeter extends Client.Service<Greeter>()("app/Greeter", GreeterService, { idempotent: ["sayHello"] }) {}

// Sees each call, of whatever kind, and decides what to send on, how often and when.
const inPriority =
  (priority: 0 | 1 | 2) =>
  <E, R>(self: Channel.Channel.With<E, R>) =>
    Channel.intercept(self, (call, next) => next({ ...call, priority }))

// With a service of its own: the layer takes it when it is built.
class Tenant extends Context.Service<Tenant, { readonly id: string }>()("app/Tenant") {}

const forTenant = Channel.layerMiddleware((self) =>
  Channel.intercept(self, (call, next) =>
    Tenant.use(({ id }) => next({ ...call, metadata: Metadata.set(call.metadata ?? Metadata.empty, "x-tenant", id) }))
  )
)

// What comes with Hawser, in its places. Plaintext is for this example: tokens refuse it otherwise.
const token = Effect.succeed({ token: Redacted.make("s3cret"), timeToLive: "1 hour" } as const)
const auth = Auth.intercept(Auth.make({ token, allowInsecure: true }))
const tracing = CallTracing.make()
const logged = CallLog.intercept(CallLog.make({ metadata: ["x-tenant", "x-request-id"] }))

const channel = Layer.unwrap(
  Effect.map(greeters(1), (addresses) =>
    Grpc.layer({
      target: `ipv4:${addresses.join()}`,
      credentials: Credentials.insecure,
      // The last one is the outermost.
      perCall: (self) =>
        self.pipe(inPriority(0), logged, RequestId.intercept(RequestId.make()), CallTracing.perCall(tracing)),
      perAttempt: (self) => self.pipe(CallTracing.perAttempt(tracing), CallLog.perAttempt, auth)
    })
  )
)

const layer = Greeter.layer.pipe(
  Layer.provide(forTenant),
  Layer.provide([channel, Layer.succeed(Tenant, { id: "acme" })])
)

const program = Greeter.use((greeter) => greeter.sayHello({ name: "Ada" })).pipe(
  Effect.flatMap(({ text }) => Console.log(text)),
  RequestId.within("7f3a")
)

await Effect.runPromise(Effect.provide(program, layer))
