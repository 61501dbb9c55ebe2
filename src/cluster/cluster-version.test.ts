import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import type { Directory } from "../ports/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { EmbeddedDirectory } from "./embedded-directory.ts";
import { createCluster, findCluster, putHost } from "./host-record.ts";
import { CLUSTER_VERSION_NEWEST } from "./host-record.ts";
import { finalizeVersion, readClusterVersion, requireVersion } from "./cluster-version.ts";

const CLUSTER = "c".repeat(32);

async function made(version?: number): Promise<{ directory: Directory; simulation: Simulation }> {
  const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  const simulation = new Simulation({ seed: 1, turn });
  const machine = new SimMachine(simulation);
  const store = new SimMetadataStore(machine, new MetadataMedium());
  const directory = await simulation.run(EmbeddedDirectory.open(store, machine.clock));
  const record = { clusterId: CLUSTER, name: "c", createdMs: 1 };
  await simulation.run(createCluster(directory, record, version));
  return { directory, simulation };
}

function host(name: string, clusterVersion?: number): Parameters<typeof putHost>[2] {
  const addresses = { managementAddress: "a:1", storageAddress: "a:2", managementLinkAddress: "" };
  const told = clusterVersion === undefined ? {} : { clusterVersion };
  return { hostId: name, name, ...addresses, faultDomain: name, ...told };
}

test("a new cluster has the newest version, and whatever came with it may be used", async () => {
  const { directory, simulation } = await made();
  const version = await simulation.run(readClusterVersion(directory, CLUSTER));
  assert.equal(version, CLUSTER_VERSION_NEWEST);
  await simulation.run(requireVersion(directory, CLUSTER, "encryption"));
  assert.equal(await simulation.run(finalizeVersion(directory, CLUSTER)), CLUSTER_VERSION_NEWEST);
});

test("what is new is refused until the upgrade is finalized, which waits for all hosts", async () => {
  const { directory, simulation } = await made(1);
  const run = <T>(work: Promise<T>): Promise<T> => simulation.run(work);
  const refused = { code: "upgrade-not-finalized" };
  await run(putHost(directory, CLUSTER, host("h1", CLUSTER_VERSION_NEWEST)));
  await run(putHost(directory, CLUSTER, host("h2")));
  await assert.rejects(run(requireVersion(directory, CLUSTER, "encryption")), refused);
  const early = run(finalizeVersion(directory, CLUSTER));
  await assert.rejects(early, { code: "hosts-outdated", message: /: h2$/ });
  assert.equal(await run(readClusterVersion(directory, CLUSTER)), 1);
  await run(putHost(directory, CLUSTER, host("h2", CLUSTER_VERSION_NEWEST)));
  await assert.rejects(run(requireVersion(directory, CLUSTER, "encryption")), refused);
  assert.equal(await run(finalizeVersion(directory, CLUSTER)), CLUSTER_VERSION_NEWEST);
  await run(requireVersion(directory, CLUSTER, "encryption"));
});

test("once it is finalized, a program that knows the version before does not start", async () => {
  const { directory, simulation } = await made(1);
  const found = await simulation.run(findCluster(directory, CLUSTER, 1));
  assert.equal(found?.name, "c");
  await simulation.run(putHost(directory, CLUSTER, host("h1", CLUSTER_VERSION_NEWEST)));
  await simulation.run(finalizeVersion(directory, CLUSTER));
  const refused = simulation.run(findCluster(directory, CLUSTER, 1));
  await assert.rejects(refused, { code: "record-format-unknown" });
  assert.equal((await simulation.run(findCluster(directory, CLUSTER)))?.name, "c");
});

test("an older host that starts at the same moment keeps the cluster at its version", async () => {
  const { directory, simulation } = await made(1);
  await simulation.run(putHost(directory, CLUSTER, host("h1", CLUSTER_VERSION_NEWEST)));
  let isFirst = true;
  const racing: Directory = Object.assign(Object.create(directory) as Directory, {
    get: (key: string) => directory.get(key),
    list: (prefix: string) => directory.list(prefix),
    transact: async (...all: Parameters<Directory["transact"]>) => {
      if (isFirst) await putHost(directory, CLUSTER, host("h1"));
      isFirst = false;
      return await directory.transact(...all);
    },
  });
  const late = simulation.run(finalizeVersion(racing, CLUSTER));
  await assert.rejects(late, { code: "hosts-outdated" });
  assert.equal(await simulation.run(readClusterVersion(directory, CLUSTER)), 1);
});
