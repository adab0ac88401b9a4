import { writeFileSync } from "node:fs"
import { Effect } from "effect"
import * as Clients from "../kit/clients.ts"
import * as Ports from "../kit/ports.ts"
import { start } from "../kit/processes.ts"
import { type Scenario, verdict } from "../kit/scenario.ts"
import * as Servers from "../kit/servers.ts"

const requests = 5

const configuration = (folder: string, port: number, backends: ReadonlyArray<string>): string => `
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/nginx.log;
events {}
http {
  access_log off;
  ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join(" ")}
  upstream backends {
    ${backends.map((backend) => `server ${backend};`).join(" ")}
    keepalive 32;
  }
  server {
    listen 127.0.0.1:${port} http2;
    keepalive_requests ${requests};
    location / { grpc_pass grpc://backends; }
  }
}
`

export const nginx: Scenario = {
  id: "NGINX",
  title: `nginx with grpc_pass and keepalive_requests ${requests}: GOAWAY after each ${requests} calls`,
  expect: "no call fails, the ones that must not be resent included",
  needs: ["nginx"],
  quick: true,
  play: (stage) =>
    Effect.gen(function* () {
      const servers = yield* Servers.startMany(3)
      const port = yield* Ports.free
      const file = `${stage.folder}/nginx.conf`
      writeFileSync(
        file,
        configuration(
          stage.folder,
          port,
          servers.map(({ address }) => address)
        )
      )
      yield* start("nginx", ["nginx", "-p", stage.folder, "-c", file], { output: `${stage.folder}/nginx.out` })
      yield* Ports.listening("127.0.0.1", port)
      const client = yield* Clients.start(stage, { target: `ipv4:127.0.0.1:${port}` })
      yield* client.ready(1)
      yield* client.load({ method: "put", concurrency: 4 })
      yield* Effect.sleep(4_000 * stage.scale)
      const ledger = yield* client.finish()
      const counts = yield* Effect.forEach(servers, ({ count }) => count)
      return verdict(ledger, 0, [
        {
          what: "connections that said GOAWAY",
          value: client.count("Disconnected"),
          least: ledger.calls / (2 * requests)
        },
        {
          what: "calls that servers saw, per call",
          value: counts.reduce((n, { started }) => n + started, 0) / ledger.calls,
          most: 1
        }
      ])
    })
}
