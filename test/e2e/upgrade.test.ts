/**
 * A cluster of the version before is upgraded host by host while a volume is written and checked.
 *
 * The version before is a checkout of it whose command DRYSTONE_PREVIOUS names, built; where there
 * is none, this program told to know, write and say no more than that one.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { etcdMissing } from "./etcd.ts";
import { CLUSTER_PORTS, freePort, temporaryFolder } from "./harness.ts";
import { JoinedCluster } from "./joined-cluster.ts";
import { regularFiles } from "./damage.ts";
import type { NbdAddress } from "./nbd-client.ts";
import type { HostProgram } from "./joined-cluster.ts";
import { PacedLoad } from "./paced-load.ts";

const missing = etcdMissing();
const options = missing === undefined ? { timeout: 240_000 } : { skip: missing };
const HOSTS = ["h1", "h2", "h3"];
const WAIT_MS_MAX = 90_000;
const LOOK_MS = 200;
const VOLUME_BYTES = 16 << 20;
const LANES = 4;
const WRITES = 40;
const MIRRORED = ["--failures-to-tolerate", "1"];

const previous = process.env["DRYSTONE_PREVIOUS"];
const BEFORE: HostProgram =
  previous === undefined
    ? { environment: { DRYSTONE_TEST_CLUSTER_VERSION: "1" } }
    : { cli: previous };

interface Status {
  readonly health: string;
  readonly resyncs: readonly object[];
  readonly directory: { readonly members: readonly { readonly state: string }[] };
  readonly clusterVersion?: number;
}

interface Upgrade {
  readonly clusterVersion: number;
  readonly isFinal: boolean;
  readonly mayFinalize: boolean;
}

async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  const limit = performance.now() + WAIT_MS_MAX;
  while (!(await isSo())) {
    assert.ok(performance.now() < limit, what);
    await sleep(LOOK_MS);
  }
}

/** Devices with a log of their metadata, which an older program would not look at. */
function metadataLogs(folder: string): number {
  return regularFiles(folder).filter((file) => file.endsWith(".mdb.log")).length;
}

/** When the next host may be stopped. */
async function allWell(cluster: JoinedCluster, asked: string): Promise<void> {
  await until(async () => {
    const { health, resyncs, directory } = await cluster.get<Status>(asked, "/v1/status");
    const { members } = directory;
    const areWell = members.length === 3 && members.every(({ state }) => state === "well");
    return health === "healthy" && resyncs.length === 0 && areWell;
  }, "the cluster is not well");
}

const ENCRYPTED = ["volume", "create", "v2", "--size", "8M", "--encrypted"];

/** What is new is not used while older hosts would not understand it, and status tells of them. */
async function newerWaits(cluster: JoinedCluster): Promise<void> {
  assert.equal((await cluster.refusedCli("h2", ENCRYPTED)).code, "upgrade-not-finalized");
  const early = await cluster.refusedCli("h2", ["upgrade", "finalize", "--yes"]);
  assert.equal(early.code, "hosts-outdated");
  const notes = await cluster.cli<{ check: { findings: readonly { message: string }[] } }>("h2", [
    ...["health", "show", "versions-mixed"],
  ]);
  const older = notes.check.findings.map(({ message }) => message).toSorted();
  assert.deepEqual(older, ["host h1 runs an older version", "host h3 runs an older version"]);
}

test("hosts are upgraded one after the other while a volume is in use", options, async (t) => {
  const folder = temporaryFolder(t);
  const cluster = new JoinedCluster(t, folder, await freePort(CLUSTER_PORTS));
  for (const host of HOSTS) cluster.runsAs(host, BEFORE);
  await cluster.init("h1", ["--directory", "etcd"]);
  await cluster.start("h1");
  for (const host of ["h2", "h3"]) {
    await cluster.join(host, "h1", await cluster.token("h1"));
    await cluster.start(host);
  }
  await cluster.cli("h1", ["volume", "create", "v1", "--size", String(VOLUME_BYTES), ...MIRRORED]);
  const at = (host: string): NbdAddress => {
    return { socket: path.join(folder, `${host}.sock`), exportName: "v1" };
  };
  const attach = (host: string): Promise<object> =>
    cluster.cli(host, ["volume", "attach", "v1", "--nbd", path.join(folder, `${host}.sock`)]);
  await attach("h1");
  let load = await PacedLoad.start(at("h1"), LANES);
  const go = async (): Promise<void> => await load.progress(WRITES);
  const upgrade = async (host: string): Promise<void> => {
    await cluster.stop(host);
    await go();
    cluster.runsAs(host, {});
    await cluster.start(host);
    await go();
    await allWell(cluster, host);
  };

  await allWell(cluster, "h1");
  await upgrade("h2");
  await newerWaits(cluster);
  await upgrade("h3");
  // Its client goes elsewhere first, as for any work on a host.
  await load.stop();
  await cluster.cli("h1", ["volume", "detach", "v1"]);
  await attach("h2");
  await load.verify(at("h2"));
  load = await PacedLoad.start(at("h2"), LANES);
  await upgrade("h1");

  const shown = await cluster.cli<Upgrade>("h1", ["upgrade", "show"]);
  const { clusterVersion, isFinal, mayFinalize } = shown;
  assert.deepEqual([clusterVersion, isFinal, mayFinalize], [1, false, true]);
  assert.equal(metadataLogs(folder), 0);
  await cluster.cli("h3", ["upgrade", "finalize", "--yes"]);
  await go();
  assert.equal((await cluster.cli<Status>("h1", ["status"])).clusterVersion, 3);
  // Hosts that an older program has set up have no key to encrypt with yet.
  if (previous === undefined) await cluster.cli("h2", ENCRYPTED);
  else assert.equal((await cluster.refusedCli("h2", ENCRYPTED)).code, "cluster-key-missing");

  await cluster.stop("h1");
  await cluster.start("h1");
  assert.equal(metadataLogs(folder), 1);

  // There is no way back, which the older program knows.
  await cluster.stop("h3");
  cluster.runsAs("h3", BEFORE);
  assert.match(await cluster.refusedStart("h3"), /record-format-unknown/);
  await go();
  await load.stop();
  await load.verify(at("h2"));
  for (const host of ["h1", "h2"]) await cluster.stop(host);
});
