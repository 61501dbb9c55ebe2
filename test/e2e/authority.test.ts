/** The cluster's authority is replaced while hosts, their directory and a volume are in use. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as https from "node:https";
import * as path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { etcdMissing } from "./etcd.ts";
import { CLUSTER_PORTS, freePort, temporaryFolder } from "./harness.ts";
import { JoinedCluster } from "./joined-cluster.ts";
import { PacedLoad } from "./paced-load.ts";

const missing = etcdMissing();
const options = missing === undefined ? { timeout: 180_000 } : { skip: missing };
const WAIT_MS_MAX = 90_000;
const LOOK_MS = 200;
const HOSTS = ["h1", "h2", "h3"];
const STALL_MS_MAX = 10_000;
const MIRRORED = ["--failures-to-tolerate", "1"];

interface Shown {
  readonly authority: string;
  readonly rotation?: { readonly step: string; readonly waitsFor: readonly object[] };
}

async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  const limit = performance.now() + WAIT_MS_MAX;
  while (!(await isSo())) {
    assert.ok(performance.now() < limit, what);
    await sleep(LOOK_MS);
  }
}

/** The status of a request that shows these certificates, or the way in which it is cut. */
function asked(port: number, at: string, folder: string): Promise<number | string> {
  const read = (name: string): Buffer => fs.readFileSync(path.join(folder, name));
  const secrets = { cert: read("host.crt"), key: read("host.key"), rejectUnauthorized: false };
  return new Promise((resolve) => {
    const where = { host: "127.0.0.1", port, path: at, agent: false, ...secrets };
    const request = https.get(where, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on("error", () => resolve("cut"));
  });
}

async function madeCluster(cluster: JoinedCluster): Promise<void> {
  await cluster.init("h1", ["--directory", "etcd"]);
  await cluster.start("h1");
  for (const host of ["h2", "h3"]) {
    await cluster.join(host, "h1", await cluster.token("h1"));
    await cluster.start(host);
  }
  await until(async () => {
    const { directory } = await cluster.get<{
      directory: { members: readonly { state: string }[] };
    }>("h1", "/v1/status");
    const { members } = directory;
    return members.length === 3 && members.every(({ state }) => state === "well");
  }, "the hosts do not keep the directory");
}

test("the authority is replaced under load, and the old one is refused", options, async (t) => {
  const folder = temporaryFolder(t);
  const cluster = new JoinedCluster(t, folder, await freePort(CLUSTER_PORTS));
  await madeCluster(cluster);
  const show = (host: string): Promise<Shown> => cluster.get(host, "/v1/certificate");
  const { authority: before } = await show("h2");
  // What somebody has copied.
  const copied = path.join(folder, "copied");
  fs.cpSync(cluster.tlsOf("h2"), copied, { recursive: true });
  const port = cluster.portOf("h1");
  assert.equal(await asked(port, "/v1/status", copied), 200);
  assert.equal(await asked(port + 2, "/version", copied), 200);

  await cluster.cli("h1", ["volume", "create", "v1", "--size", "64M", ...MIRRORED]);
  const socket = path.join(folder, "v1.sock");
  await cluster.cli("h1", ["volume", "attach", "v1", "--nbd", socket]);
  const load = await PacedLoad.start({ socket, exportName: "v1" }, 4);
  await load.progress(50);
  load.takeStallMs();

  await cluster.cli("h2", ["certificate", "rotate-authority", "--hold"]);
  await until(async () => {
    const { rotation } = await show("h3");
    return rotation?.step === "trust" && rotation.waitsFor.length === 0;
  }, "not all hosts believe both");
  await load.progress(50);
  await cluster.cli("h3", ["certificate", "rotate-authority"]);
  for (const host of HOSTS) {
    await until(async () => {
      const { rotation, authority } = await show(host);
      return rotation === undefined && authority !== before;
    }, `${host} does not come to the end`);
  }
  await load.progress(200);
  const stallMs = Math.round(load.takeStallMs());
  assert.ok(stallMs < STALL_MS_MAX, `a request took ${stallMs} ms`);
  t.diagnostic(`longest wait for an answer: ${stallMs} ms`);

  assert.equal(await asked(port, "/v1/status", copied), 401);
  for (const offset of [2, 4]) assert.equal(await asked(port + offset, "/version", copied), "cut");
  const own = cluster.tlsOf("h2");
  assert.equal(await asked(port, "/v1/status", own), 200);
  for (const offset of [2, 4]) assert.equal(await asked(port + offset, "/version", own), 200);

  // Hosts join where the new key is, and nowhere else.
  const refusal = await cluster.refusedCli("h1", ["token", "create"]);
  assert.equal(refusal.code, "authority-elsewhere");
  await cluster.join("h4", "h2", await cluster.token("h2"));
  await cluster.start("h4");
  assert.notEqual((await show("h4")).authority, before);
  await load.stop();
  await load.verify({ socket, exportName: "v1" });
  for (const host of ["h4", ...HOSTS]) await cluster.stop(host);
});
