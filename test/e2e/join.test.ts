/** A cluster made with init and join: what it does, and whom it refuses. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as https from "node:https";
import * as net from "node:net";
import * as path from "node:path";
import { test } from "node:test";
import * as tls from "node:tls";
import { fio } from "./fio.ts";
import { CLUSTER_PORTS, freePort, temporaryFolder } from "./harness.ts";
import { JoinedCluster } from "./joined-cluster.ts";

const UP_MS_MAX = 60_000;

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Asks the API over TCP, with the certificate of a folder or without one. */
function ask(port: number, folder?: string): Promise<Answer> {
  const read = (name: string): Buffer => fs.readFileSync(path.join(folder ?? "", name));
  const shown = folder === undefined ? {} : { cert: read("host.crt"), key: read("host.key") };
  const options = { host: "127.0.0.1", port, path: "/v1/status", agent: false };
  return new Promise((resolve, reject) => {
    const request = https.get({ ...options, ...shown, rejectUnauthorized: false }, (response) => {
      let text = "";
      response.on("data", (piece: Buffer) => (text += piece.toString()));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.on("error", reject);
  });
}

/** Sends bytes to a port, and resolves with what came back by the end of the connection. */
function send(port: number, bytes: Buffer, folder?: string): Promise<Buffer> {
  const read = (name: string): Buffer => fs.readFileSync(path.join(folder ?? "", name));
  const socket =
    folder === undefined
      ? net.connect(port, "127.0.0.1")
      : tls.connect({
          ...{ host: "127.0.0.1", port, rejectUnauthorized: false },
          ...{ cert: read("host.crt"), key: read("host.key") },
        });
  const pieces: Buffer[] = [];
  socket.on("data", (piece: Buffer) => pieces.push(piece));
  socket.on("error", () => undefined);
  socket.write(bytes);
  return new Promise((resolve) => socket.on("close", () => resolve(Buffer.concat(pieces))));
}

async function hostsUp(cluster: JoinedCluster, host: string, count: number): Promise<void> {
  const limit = performance.now() + UP_MS_MAX;
  for (;;) {
    const { hosts } = await cluster.cli<{ hosts: readonly { state: string }[] }>(host, [
      ...["host", "list"],
    ]);
    if (hosts.filter(({ state }) => state === "up").length === count) return;
    assert.ok(performance.now() < limit, `the hosts are not up: ${JSON.stringify(hosts)}`);
  }
}

test("three hosts made with init and join serve a mirrored volume", async (t) => {
  const folder = temporaryFolder(t);
  const cluster = new JoinedCluster(t, folder, await freePort(CLUSTER_PORTS));
  await cluster.init("h1");
  await cluster.start("h1");
  for (const host of ["h2", "h3"]) {
    await cluster.join(host, "h1", await cluster.token("h1"));
    await cluster.start(host);
  }
  await hostsUp(cluster, "h2", 3);
  await cluster.cli("h2", ["volume", "create", "v", "--size", "1G", "--failures-to-tolerate", "1"]);
  const socket = path.join(folder, "v.sock");
  const { uri } = await cluster.cli<{ uri: string }>("h3", [
    "volume",
    "attach",
    "v",
    "--nbd",
    socket,
  ]);
  const verified = ["--bs=64k", "--iodepth=8", "--size=32M", "--verify=crc32c"];
  const job = await fio({ uri, args: ["--rw=write", ...verified], timeoutMs: 120_000 });
  assert.equal(job.error, 0);
  const shown = await cluster.cli<{ components: readonly { state: string }[] }>("h1", [
    ...["volume", "show", "v"],
  ]);
  assert.deepEqual([...new Set(shown.components.map(({ state }) => state))], ["active"]);
  assert.equal(fs.statSync(path.join(folder, "h1", "state", "api.sock")).mode & 0o777, 0o660);
  // Each has been told the cluster key, and can serve what another one has encrypted.
  const keyFiles = ["h1", "h2", "h3"].map((host) => path.join(folder, host, "cluster.key"));
  assert.equal(new Set(keyFiles.map((file) => fs.readFileSync(file, "utf8"))).size, 1);
  for (const file of keyFiles) assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  await cluster.cli("h1", ["volume", "create", "dark", "--size", "1M", "--encrypted"]);
  await cluster.cli("h3", ["volume", "attach", "dark"]);
  for (const host of ["h3", "h2", "h1"]) await cluster.stop(host);
});

test("who is not of the cluster is refused at every port, and the cluster goes on", async (t) => {
  const folder = temporaryFolder(t);
  const port = await freePort(CLUSTER_PORTS);
  const cluster = new JoinedCluster(t, folder, port);
  await cluster.init("h1");
  await cluster.start("h1");
  // Another cluster, whose certificates are as good as ours, and not ours.
  const other = new JoinedCluster(t, path.join(folder, "other"), port + 100);
  await other.init("h1");
  const strange = other.tlsOf("h1");

  assert.equal((await ask(port, cluster.tlsOf("h1"))).status, 200);
  for (const shown of [undefined, strange]) {
    const { status, text } = await ask(port, shown);
    assert.equal(status, 401);
    assert.match(text, /certificate-required/);
  }
  const garbage = Buffer.alloc(4096, 0x5a);
  for (const open of [port, port + 1, port + 2]) {
    const answered = await send(open, garbage);
    assert.ok(!/drystone|cluster|host/i.test(answered.toString("latin1")), "it has said something");
  }
  for (const hosts of [port + 1, port + 2]) {
    assert.equal((await send(hosts, garbage, strange)).length, 0);
    // One of ours that does not speak as hosts do costs its own connection.
    await send(hosts, garbage, cluster.tlsOf("h1"));
  }

  const token = await cluster.token("h1");
  const elsewhere = await other.refusedJoin("h2", "h1", token);
  assert.equal(elsewhere.code, "connection-failed");
  await other.start("h1");
  assert.equal((await other.refusedJoin("h2", "h1", token)).code, "cluster-not-proven");
  const cut = `${token.slice(0, 12)}${token.slice(13)}`;
  assert.equal((await cluster.refusedJoin("h2", "h1", cut)).code, "token-invalid");
  const forged = `drystone-${Buffer.concat([
    Buffer.alloc(16, 7),
    Buffer.from(token.slice(9), "base64url").subarray(16),
  ]).toString("base64url")}`;
  assert.equal((await cluster.refusedJoin("h2", "h1", forged)).code, "token-unknown");
  // None of this has used it up; joining does.
  await cluster.join("h2", "h1", token);
  assert.equal((await cluster.refusedJoin("h3", "h1", token)).code, "token-used");
  assert.equal((await cluster.refusedJoin("h2", "h1", token)).code, "folder-in-use");
  await cluster.start("h2");
  await hostsUp(cluster, "h1", 2);
  const { events } = await cluster.cli<{ events: readonly { kind: string }[] }>("h1", ["events"]);
  const refusals = events.filter(({ kind }) => kind === "join-refused");
  assert.equal(refusals.length, 2, "the token that was forged, and the one that was used");
});
