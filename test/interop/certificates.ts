/**
 * A certificate authority and a server's certificate, made by openssl for each run: nothing expires in the repository.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** The name that the cases ask for. The certificate has it as a wildcard only. */
export const serverName = "foo.test.google.fr"

export interface Certificates {
  /** The certificate of the authority, as PEM. */
  readonly ca: string
  /** Files, for the servers. */
  readonly certFile: string
  readonly keyFile: string
}

const cache = fileURLToPath(new URL("../../.cache/interop/", import.meta.url))

/** They are removed when the process exits. Throws where there is no openssl. */
export const make = (): Certificates => {
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(`${cache}tls-`)
  const file = (name: string) => `${folder}/${name}`
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }))
  const openssl = (...args: ReadonlyArray<string>) => execFileSync("openssl", args, { stdio: "pipe" })
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
  writeFileSync(file("san"), "subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:*.test.google.fr\n")
  openssl(
    ...["req", "-x509", ...newKey, "-subj", "/CN=interop authority", "-days", "2"],
    ...["-keyout", file("ca.key"), "-out", file("ca.pem")]
  )
  openssl(
    ...["req", ...newKey, "-subj", "/CN=interop server", "-keyout", file("server.key"), "-out", file("server.csr")]
  )
  openssl(
    ...["x509", "-req", "-in", file("server.csr"), "-CA", file("ca.pem"), "-CAkey", file("ca.key")],
    ...["-set_serial", "1", "-days", "2", "-extfile", file("san"), "-out", file("server.pem")]
  )
  return {
    ca: readFileSync(file("ca.pem"), "utf8"),
    certFile: file("server.pem"),
    keyFile: file("server.key")
  }
}
