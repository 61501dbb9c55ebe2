import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import type { Directory } from "../ports/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { listAccessTokens } from "./access-token.ts";
import { listRevoked } from "./certificate-record.ts";
import { readSettings } from "./cluster-settings.ts";
import { listIntents } from "./component-intents.ts";
import { listDevices } from "./device-record.ts";
import { directoryKeys } from "./directory-keys.ts";
import { EmbeddedDirectory } from "./embedded-directory.ts";
import { readHaSettings } from "./ha-settings.ts";
import { findCluster, listHosts } from "./host-record.ts";
import { findClusterKey, listKeyDomains } from "./key-domain-record.ts";
import type { NbdClientRecord } from "./nbd-client-record.ts";
import { createNbdClient, listNbdClients, removeNbdClient } from "./nbd-client-record.ts";
import { listServices } from "./service-record.ts";
import { findVm } from "./vm-record.ts";
import { findObject } from "./volumes.ts";

const CLUSTER = "c1";
const NEWER = 99;

interface Fresh {
  readonly directory: Directory;
  readonly run: <T>(work: Promise<T>) => Promise<T>;
}

async function fresh(): Promise<Fresh> {
  const simulation = new Simulation({ seed: 1 });
  const machine = new SimMachine(simulation);
  const store = new SimMetadataStore(machine, new MetadataMedium());
  const directory = await EmbeddedDirectory.open(store, machine.clock);
  return { directory, run: (work) => simulation.run(work) };
}

type Reader = (directory: Directory) => Promise<unknown>;

/** Where each kind of record lives, and who reads it. */
const KINDS: readonly (readonly [string, Reader])[] = [
  [directoryKeys.cluster(CLUSTER), (one) => findCluster(one, CLUSTER)],
  [directoryKeys.host(CLUSTER, "h1"), (one) => listHosts(one, CLUSTER)],
  [directoryKeys.device(CLUSTER, "d1"), (one) => listDevices(one, CLUSTER)],
  [directoryKeys.object(CLUSTER, "o1"), (one) => findObject(one, CLUSTER, "o1")],
  [directoryKeys.intent(CLUSTER, "p1"), (one) => listIntents(one, CLUSTER)],
  [directoryKeys.revokedHost(CLUSTER, "h1"), (one) => listRevoked(one, CLUSTER)],
  [directoryKeys.accessToken(CLUSTER, "a1"), (one) => listAccessTokens(one, CLUSTER)],
  [directoryKeys.nbdClient(CLUSTER, "web"), (one) => listNbdClients(one, CLUSTER)],
  [directoryKeys.service(CLUSTER, "s1"), (one) => listServices(one, CLUSTER)],
  [directoryKeys.keyDomain(CLUSTER, "default"), (one) => listKeyDomains(one, CLUSTER)],
  [directoryKeys.clusterKey(CLUSTER), (one) => findClusterKey(one, CLUSTER)],
  [directoryKeys.settings(CLUSTER), (one) => readSettings(one, CLUSTER)],
  [directoryKeys.haSettings(CLUSTER), (one) => readHaSettings(one, CLUSTER)],
  [directoryKeys.vm(CLUSTER, "vm1"), (one) => findVm(one, CLUSTER, "vm1")],
];

test("a record of a newer version is refused, with both formats named", async () => {
  for (const [key, read] of KINDS) {
    const { directory, run } = await fresh();
    const value = JSON.stringify({ format: NEWER, anything: "else" });
    await run(directory.transact([], [{ kind: "put", key, value }]));
    const message = new RegExp(`has format ${NEWER}, this program understands format \\d`);
    await assert.rejects(run(read(directory)), { code: "record-format-unknown", message }, key);
  }
});

test("a client of volumes is made once, found as it was made, and gone for good", async () => {
  const { directory, run } = await fresh();
  const client: NbdClientRecord = {
    name: "web",
    volumes: ["web1", "web1@before"],
    proof: "key",
    secret: "ab".repeat(32),
    createdMs: 1,
    expiresMs: 2,
  };
  await run(createNbdClient(directory, CLUSTER, client));
  await assert.rejects(run(createNbdClient(directory, CLUSTER, client)), { code: "client-exists" });
  assert.deepEqual(await run(listNbdClients(directory, CLUSTER)), [client]);
  assert.equal(await run(removeNbdClient(directory, CLUSTER, "../host/h1")), false);
  assert.equal(await run(removeNbdClient(directory, CLUSTER, "web")), true);
  assert.equal(await run(removeNbdClient(directory, CLUSTER, "web")), false);
  assert.deepEqual(await run(listNbdClients(directory, CLUSTER)), []);
});
