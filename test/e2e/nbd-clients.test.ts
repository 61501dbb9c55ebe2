/** Volumes over TCP as an operator gives them to clients: under TLS, by name, until taken back. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import * as https from "node:https";
import * as path from "node:path";
import { test } from "node:test";
import type { AttachmentView, ClientCreatedView } from "../../src/host/index.ts";
import { CLUSTER_PORTS, freePort, temporaryFolder } from "./harness.ts";
import { JoinedCluster } from "./joined-cluster.ts";
import { Program, runTool } from "./process.ts";

/** Debian's own: the binding belongs to it, whatever other Python is first in the path. */
const PYTHON = "/usr/bin/python3";
/** Reads for as long as it is served. */
const READER = `
import nbd, sys
h = nbd.NBD()
h.set_uri_allow_local_file(True)
h.connect_uri(sys.argv[1])
print("connected", flush=True)
try:
    while True: h.pread(4096, 0)
except nbd.Error as error:
    print("gone", flush=True)
`;

function save(folder: string, { name, files }: ClientCreatedView): string {
  const made = path.join(folder, `client-${name}`);
  mkdirSync(made, { mode: 0o700 });
  for (const file of files)
    writeFileSync(path.join(made, file.name), file.content, { mode: 0o600 });
  return made;
}

/** Asks a port of the host for its status, with the certificate of a client. */
function statusAs(folder: string, port: number): Promise<void> {
  const read = (name: string): Buffer => readFileSync(path.join(folder, name));
  const proof = { cert: read("client-cert.pem"), key: read("client-key.pem") };
  return new Promise((resolve, reject) => {
    const where = { host: "127.0.0.1", port, path: "/v1/status", agent: false };
    const request = https.get({ ...where, ...proof, rejectUnauthorized: false }, (response) => {
      response.resume();
      if (response.statusCode === 200) resolve();
      else reject(new Error(`${response.statusCode}`));
    });
    request.setTimeout(10_000, () => request.destroy(new Error("no answer")));
    request.on("error", reject);
  });
}

test("each client uses the volumes that it may, under TLS, until it is deleted", async (t) => {
  const folder = temporaryFolder(t);
  const cluster = new JoinedCluster(t, folder, await freePort(CLUSTER_PORTS));
  await cluster.init("h1");
  await cluster.start("h1");
  const cli = <T>(...line: string[]): Promise<T> => cluster.cli<T>("h1", line);
  const uris = new Map<string, string>();
  for (const name of ["web1", "db1"]) {
    await cli("volume", "create", name, "--size", "64M");
    const made = await cli<AttachmentView>(
      "volume",
      "attach",
      name,
      "--nbd",
      "127.0.0.1:0",
      "--tls",
    );
    assert.equal(made.tls, true);
    uris.set(name, made.uri);
  }
  const uriOf = (name: string): string => uris.get(name)!;
  const web = save(
    folder,
    await cli<ClientCreatedView>("client", "create", "web", "--volume", "web1"),
  );
  const backup = save(
    folder,
    await cli<ClientCreatedView>("client", "create", "backup", "--volume", "*", "--proof", "key"),
  );
  const asWeb = (name: string): string => `${uriOf(name)}?tls-certificates=${web}`;
  const asBackup = (name: string): string =>
    `${uriOf(name).replace("nbds://", "nbds://backup@")}?tls-psk-file=${backup}/keys.psk`;
  for (const uri of [asWeb("web1"), asBackup("web1"), asBackup("db1")])
    assert.equal((await runTool("nbdinfo", ["--size", uri])).stdout.trim(), String(64 << 20));
  const other = await runTool("nbdinfo", [asWeb("db1")], { codes: [1] });
  assert.match(other.stderr, /No such file or directory for export: db1/);
  const listed = await runTool("nbdinfo", ["--list", "--json", asWeb("db1")]);
  assert.doesNotMatch(listed.stdout, /export-name/, "what it may not use it does not see");

  // Its certificate is good for its volumes alone (CVE-2018-10841).
  for (const port of [0, 1, 2].map((one) => cluster.portOf("h1") + one))
    await assert.rejects(statusAs(web, port), /401|ECONNRESET|certificate|alert|hang up/);

  const reader = new Program("reader", PYTHON, ["-c", READER, asBackup("db1")]);
  t.after(() => reader.kill());
  await reader.waitForLine(/connected/, 10_000);
  await cli("client", "delete", "backup");
  await reader.waitForLine(/gone/, 10_000);
  await runTool("nbdinfo", ["--size", asBackup("db1")], { codes: [1] });

  // After a restart it is under TLS still, at the same address.
  await cluster.stop("h1");
  await cluster.start("h1");
  assert.equal(
    (await runTool("nbdinfo", ["--size", asWeb("web1")])).stdout.trim(),
    String(64 << 20),
  );
  await runTool("nbdinfo", ["--size", uriOf("web1").replace("nbds:", "nbd:")], { codes: [1] });
});

test("TCP to other machines is under TLS unless the operator has said otherwise", async (t) => {
  const cluster = new JoinedCluster(t, temporaryFolder(t), await freePort(CLUSTER_PORTS));
  await cluster.init("h1");
  await cluster.start("h1");
  const attach = async (...line: string[]): Promise<boolean> => {
    const made = await cluster.cli<AttachmentView>("h1", ["volume", "attach", "v1", ...line]);
    await cluster.cli("h1", ["volume", "detach", "v1"]);
    return made.tls;
  };
  await cluster.cli("h1", ["volume", "create", "v1", "--size", "64M"]);
  assert.equal(await attach(), false);
  assert.equal(await attach("--nbd", "127.0.0.1:0"), false);
  assert.equal(await attach("--nbd", "[::1]:0"), false);
  assert.equal(await attach("--nbd", "0.0.0.0:0"), true);
  assert.equal(await attach("--nbd", "0.0.0.0:0", "--plain"), false);
  const wrong = [["--tls"], ["--nbd", "127.0.0.1:0", "--tls", "--plain"]];
  for (const line of wrong) {
    const refusal = await cluster.refusedCli("h1", ["volume", "attach", "v1", ...line]);
    assert.equal(refusal.code, "request-invalid");
  }
  const bad = ["client", "create", "Web Server", "--volume", "v1"];
  assert.equal((await cluster.refusedCli("h1", bad)).code, "request-invalid");
});
