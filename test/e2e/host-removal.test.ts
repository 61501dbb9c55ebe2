/**
 * Certificates while a cluster runs: renewed without a break, and refused once a host is removed.
 */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import * as fs from "node:fs";
import * as https from "node:https";
import * as path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as tls from "node:tls";
import { etcdMissing } from "./etcd.ts";
import { CLUSTER_PORTS, freePort, NO_MIRROR, temporaryFolder } from "./harness.ts";
import { JoinedCluster } from "./joined-cluster.ts";

const missing = etcdMissing();
const options = missing === undefined ? { timeout: 180_000 } : { skip: missing };
const WAIT_MS_MAX = 60_000;
const LOOK_MS = 200;

async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  const limit = performance.now() + WAIT_MS_MAX;
  while (!(await isSo())) {
    assert.ok(performance.now() < limit, what);
    await sleep(LOOK_MS);
  }
}

function secretsOf(folder: string): tls.ConnectionOptions {
  const read = (name: string): Buffer => fs.readFileSync(path.join(folder, name));
  return { cert: read("host.crt"), key: read("host.key"), rejectUnauthorized: false };
}

/** The serial number that a port shows to who shows the certificates of a folder. */
function shownAt(port: number, folder: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: "127.0.0.1", port, ...secretsOf(folder) });
    socket.on("error", reject);
    socket.on("secureConnect", () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber ?? "");
      socket.destroy();
    });
  });
}

/** The status of a request, or the way in which it is cut. */
function asked(port: number, at: string, folder: string): Promise<number | string> {
  return new Promise((resolve) => {
    const where = { host: "127.0.0.1", port, path: at, agent: false, ...secretsOf(folder) };
    const request = https.get(where, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on("error", () => resolve("cut"));
  });
}

test(
  "certificates are renewed while the cluster runs, and refused once their host is removed",
  options,
  async (t) => {
    const cluster = new JoinedCluster(t, temporaryFolder(t), await freePort(CLUSTER_PORTS));
    await cluster.init("h1", ["--directory", "etcd"]);
    await cluster.start("h1");
    await cluster.join("h2", "h1", await cluster.token("h1"));
    await cluster.start("h2");
    const port = cluster.portOf("h1");
    const api = "/v1/status";
    const [own, second] = [cluster.tlsOf("h1"), cluster.tlsOf("h2")];

    // The second host has no key of the authority and asks the first one.
    const before = await shownAt(cluster.portOf("h2"), own);
    const renewed = await cluster.cli<{ serial: string }>("h2", ["certificate", "renew"]);
    assert.notEqual(renewed.serial, before);
    for (const offset of [0, 1]) {
      await until(
        async () => (await shownAt(cluster.portOf("h2") + offset, own)) === renewed.serial,
        "the renewed certificate is not shown",
      );
    }
    const stored = new X509Certificate(fs.readFileSync(path.join(second, "host.crt")));
    assert.equal(stored.serialNumber, renewed.serial);
    const first = await cluster.cli<{ serial: string }>("h1", ["certificate", "renew"]);
    assert.equal(await shownAt(port + 2, own), first.serial, "etcd reads what was renewed");
    assert.equal(await asked(port, api, second), 200);
    assert.equal(await asked(port + 2, "/version", second), 200);

    const refusal = await cluster.refusedCli("h1", ["host", "remove", "h2", "--yes"]);
    assert.equal(refusal.code, "host-up");
    // Two hosts cannot keep a mirror, and one copy has to be asked for.
    const unsaid = await cluster.refusedCli("h1", ["volume", "create", "only", "--size", "8M"]);
    assert.equal(unsaid.code, "policy-unsatisfiable");
    assert.match(unsaid.hint, /--failures-to-tolerate/);
    // While nothing new goes to the first host.
    await cluster.cli("h1", ["host", "maintenance", "on", "h1", "--mode", "none"]);
    await cluster.cli("h1", ["volume", "create", "only", "--size", "8M", ...NO_MIRROR]);
    await cluster.cli("h1", ["host", "maintenance", "off", "h1"]);
    await cluster.stop("h2");
    await until(async () => {
      const { hosts } = await cluster.cli<{ hosts: readonly { name: string; lease: string }[] }>(
        "h1",
        ["host", "list"],
      );
      return hosts.every(({ name, lease }) => name === "h1" || lease === "lost");
    }, "the lease of h2 does not end");
    const inUse = await cluster.refusedCli("h1", ["host", "remove", "h2", "--yes"]);
    assert.equal(inUse.code, "host-in-use");
    await cluster.cli("h1", ["volume", "delete", "only", "--yes"]);
    await cluster.cli("h1", ["host", "remove", "h2", "--yes"]);
    await until(async () => (await asked(port, api, second)) === 401, "the API lets it in");
    await until(async () => (await asked(port + 2, "/version", second)) === "cut", "etcd does");
    assert.equal(await asked(port + 2, "/version", own), 200);
    // Nor do members listen to it among themselves.
    assert.equal(await asked(port + 4, "/version", second), "cut");
    assert.equal(await asked(port + 4, "/version", own), 200);
    const { removed } = await cluster.cli<{ removed: readonly { name: string }[] }>("h1", [
      ...["certificate", "show"],
    ]);
    assert.deepEqual(
      removed.map(({ name }) => name),
      ["h2"],
    );
    await cluster.stop("h1");
  },
);
