import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError, VOLUME_SIZE_BYTES_MAX } from "../base/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { EmbeddedDirectory } from "./embedded-directory.ts";
import { listDevices, putDevice } from "./device-record.ts";
import { createCluster, findCluster, listHosts, putHost } from "./host-record.ts";
import { encodeObjectRecord, parseObjectRecord } from "./object-record.ts";
import type { ObjectRecord } from "./object-record.ts";
import { component, mirror, stripe, treeInvalid, votesOf, witness } from "./tree-node.ts";
import { createVolumeRecord, deleteVolumeRecord, findObject, findVolume } from "./volumes.ts";
import { growVolumeRecord, listVolumes, releaseOwnerships, shownName } from "./volumes.ts";
import { checkUserName, swapObject } from "./volumes.ts";
import type { NewVolume } from "./volumes.ts";

const CLUSTER = "c1";

interface World {
  readonly directory: EmbeddedDirectory;
  readonly run: <T>(work: Promise<T>) => Promise<T>;
}

async function fresh(): Promise<World> {
  const simulation = new Simulation({ seed: 1 });
  const machine = new SimMachine(simulation);
  const store = new SimMetadataStore(machine, new MetadataMedium());
  const directory = await EmbeddedDirectory.open(store, machine.clock);
  return { directory, run: (work) => simulation.run(work) };
}

function newVolume(name: string, objectId: string, sizeBytes = 2 ** 30): NewVolume {
  return {
    objectId,
    name,
    sizeBytes,
    policy: { failuresToTolerate: 0, stripes: 1 },
    tree: component(`${objectId}-1`),
    placement: [{ componentId: `${objectId}-1`, hostId: "h1", deviceId: "d1" }],
  };
}

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof CodedError && error.code === code;

test("a volume is created once, found by name, listed by name, and gone when deleted", async () => {
  const { directory, run } = await fresh();
  const made = await run(createVolumeRecord(directory, CLUSTER, newVolume("b", "o1")));
  await run(createVolumeRecord(directory, CLUSTER, newVolume("a", "o2")));
  const again = createVolumeRecord(directory, CLUSTER, newVolume("b", "o3"));
  await assert.rejects(run(again), hasCode("volume-exists"));
  assert.equal(await findObject(directory, CLUSTER, "o3"), undefined, "nothing half is left");
  assert.deepEqual((await findVolume(directory, CLUSTER, "b")).record, made);
  const names = (await listVolumes(directory, CLUSTER)).map(({ name }) => name);
  assert.deepEqual(names, ["a", "b"]);
  assert.deepEqual(await run(deleteVolumeRecord(directory, CLUSTER, "b")), made);
  await assert.rejects(findVolume(directory, CLUSTER, "b"), hasCode("volume-not-found"));
  await assert.rejects(findVolume(directory, CLUSTER, "b@monday"), /no snapshot named b@monday/);
  const second = deleteVolumeRecord(directory, CLUSTER, "b");
  await assert.rejects(run(second), hasCode("volume-not-found"));
  await run(createVolumeRecord(directory, CLUSTER, newVolume("b", "o4")));
});

test("of two hosts that create one name at the same time, one wins", async () => {
  const { directory, run } = await fresh();
  const outcomes = await run(
    Promise.allSettled([
      createVolumeRecord(directory, CLUSTER, newVolume("v", "o1")),
      createVolumeRecord(directory, CLUSTER, newVolume("v", "o2")),
    ]),
  );
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ["fulfilled", "rejected"],
  );
});

test("a name that cannot be is told as the volume's or the snapshot's", () => {
  assert.throws(() => checkUserName("@monday"), /"" cannot be the name of a volume/);
  assert.throws(() => checkUserName("web1@"), /"" cannot be the name of a snapshot/);
});

test("names and sizes that cannot be are refused before anything is written", async () => {
  const { directory, run } = await fresh();
  const names = ["", "-a", ".a", "A", "a b", "a/b", "ä", "a\n", "x".repeat(64), "../x"];
  for (const name of names) {
    const creating = createVolumeRecord(directory, CLUSTER, newVolume(name, "o1"));
    await assert.rejects(run(creating), hasCode("volume-name-invalid"), JSON.stringify(name));
    await assert.rejects(findVolume(directory, CLUSTER, name), hasCode("volume-name-invalid"));
  }
  for (const size of [0, 1, 513, -512, NaN, Infinity, 1.5, VOLUME_SIZE_BYTES_MAX + 512]) {
    const creating = createVolumeRecord(directory, CLUSTER, newVolume("v", "o1", size));
    await assert.rejects(run(creating), hasCode("volume-size-invalid"), String(size));
  }
  assert.deepEqual(await directory.list(""), { records: [], revision: 0 });
  const largest = newVolume("0._-" + "x".repeat(59), "o1", VOLUME_SIZE_BYTES_MAX);
  await run(createVolumeRecord(directory, CLUSTER, largest));
});

test("a volume that is owned is neither deleted nor resized behind its owner's back", async () => {
  const { directory, run } = await fresh();
  await run(createVolumeRecord(directory, CLUSTER, newVolume("v", "o1")));
  const stored = await findVolume(directory, CLUSTER, "v");
  const owned = { ...stored.record, epoch: 1, owner: "h1" };
  assert.ok(await run(swapObject(directory, CLUSTER, stored, owned)));
  assert.equal(await run(swapObject(directory, CLUSTER, stored, owned)), undefined);
  const deleting = deleteVolumeRecord(directory, CLUSTER, "v");
  await assert.rejects(run(deleting), hasCode("volume-in-use"));
  const growing = growVolumeRecord(directory, CLUSTER, "v", 2 ** 31);
  await assert.rejects(run(growing), hasCode("volume-in-use"));
  assert.equal(await run(releaseOwnerships(directory, CLUSTER, "h2")), 0);
  assert.equal(await run(releaseOwnerships(directory, CLUSTER, "h1")), 1);
  assert.equal((await run(growVolumeRecord(directory, CLUSTER, "v", 2 ** 31))).sizeBytes, 2 ** 31);
  const shrinking = growVolumeRecord(directory, CLUSTER, "v", 2 ** 30);
  await assert.rejects(run(shrinking), hasCode("volume-shrink-unsupported"));
  assert.equal((await run(deleteVolumeRecord(directory, CLUSTER, "v"))).epoch, 1);
});

const record: ObjectRecord = {
  objectId: "o1",
  name: "v",
  sizeBytes: 2 ** 40,
  policy: { failuresToTolerate: 1, stripes: 2 },
  epoch: 7,
  owner: "h1",
  tree: mirror([stripe([component("a"), component("b")], 256), component("c", 2), witness("w", 1)]),
  components: [
    { componentId: "a", hostId: "h1", deviceId: "d1", state: { kind: "active" } },
    { componentId: "b", hostId: "h1", deviceId: "d2", state: { kind: "active" } },
    { componentId: "c", hostId: "h2", deviceId: "d3", state: { kind: "stale", since: 9 } },
    { componentId: "w", hostId: "h3", deviceId: "d4", state: { kind: "active" } },
  ],
};

test("an object record reads back as it was written", () => {
  assert.deepEqual(parseObjectRecord("k", encodeObjectRecord(record)), record);
  const unowned = { ...record, owner: undefined };
  assert.deepEqual(parseObjectRecord("k", encodeObjectRecord(unowned)), unowned);
  assert.equal(votesOf(record.tree), 5);
});

test("a record with any field missing or wrong is refused, with the field's name", () => {
  const text = encodeObjectRecord(record);
  const parsed = JSON.parse(text) as Record<string, unknown>;
  for (const field of Object.keys(parsed)) {
    if (field === "owner") continue;
    for (const wrong of [undefined, -1, {}, [], "", "x"]) {
      if (wrong === "x" && (field === "name" || field === "objectId")) continue;
      const changed = JSON.stringify({ ...parsed, [field]: wrong });
      assert.throws(() => parseObjectRecord("/key", changed), hasCode("record-invalid"), field);
    }
  }
  for (const wrong of ["", "{", "null", "[]", "7"])
    assert.throws(() => parseObjectRecord("/key", wrong), hasCode("record-invalid"));
  const mismatched = text.replaceAll('"componentId":"w"', '"componentId":"a"');
  assert.throws(() => parseObjectRecord("/key", mismatched), hasCode("record-invalid"));
});

test("a record of another format version is refused, and says which is understood", () => {
  const newer = encodeObjectRecord(record).replace('"format":1', '"format":3');
  assert.throws(
    () => parseObjectRecord("/key", newer),
    (error) =>
      error instanceof CodedError &&
      error.code === "record-format-unknown" &&
      /format 3.*understands format 1 and 2/.test(error.message),
  );
});

test("a volume that is encrypted has a record that older versions refuse, and says with what", () => {
  const encryption = { domain: "default", domainId: "d1" };
  const text = encodeObjectRecord({ ...record, encryption });
  assert.equal((JSON.parse(text) as { format: number }).format, 2);
  assert.deepEqual(parseObjectRecord("/key", text).encryption, encryption);
  const without = text.replace('"encryption":', '"ignored":');
  assert.throws(() => parseObjectRecord("/key", without), hasCode("record-invalid"));
});

test("trees that cannot be served are refused with the reason", () => {
  const [a, b] = [component("a"), component("b")];
  assert.equal(treeInvalid(component("a", 0)), "nobody has a vote");
  assert.match(treeInvalid(mirror([a, witness("w")])) ?? "", /two legs/);
  assert.match(treeInvalid(mirror([a, a])) ?? "", /twice/);
  assert.match(treeInvalid(stripe([a], 256)) ?? "", /two components/);
  assert.match(treeInvalid(stripe([a, b], 0)) ?? "", /unit/);
  assert.match(
    treeInvalid(mirror(["a", "b", "c", "d", "e"].map((id) => component(id)))) ?? "",
    /legs/,
  );
  assert.match(treeInvalid(component("a/b")) ?? "", /letters/);
  assert.equal(treeInvalid(mirror([a, b, witness("w")])), undefined);
});

test("cluster, hosts and devices are kept under the cluster's prefix", async () => {
  const { directory, run } = await fresh();
  const cluster = { clusterId: CLUSTER, name: "lab", createdMs: 5 };
  const host = {
    hostId: "h1",
    name: "one",
    managementAddress: "m:1",
    storageAddress: "s:2",
    managementLinkAddress: "m:3",
    faultDomain: "r1",
  };
  const device = {
    deviceId: "d1",
    hostId: "h1",
    path: "/dev/x",
    state: "online",
    sizeBytes: 2 ** 40,
    freeBytes: 1,
    incarnation: 3,
    frame: 7,
  } as const;
  assert.equal(await findCluster(directory, CLUSTER), undefined);
  await run(createCluster(directory, cluster));
  await assert.rejects(run(createCluster(directory, cluster)), hasCode("cluster-exists"));
  await run(putHost(directory, CLUSTER, host));
  const revision = await run(putDevice(directory, CLUSTER, { ...device, frame: 6 }, 0));
  assert.equal(await run(putDevice(directory, CLUSTER, device, 0)), undefined);
  assert.ok((await run(putDevice(directory, CLUSTER, device, revision ?? -1))) !== undefined);
  assert.deepEqual(await findCluster(directory, CLUSTER), cluster);
  assert.deepEqual(await listHosts(directory, CLUSTER), [host]);
  const devices = await listDevices(directory, CLUSTER);
  assert.deepEqual(
    devices.map(({ record }) => record),
    [device],
  );
  assert.deepEqual(await listHosts(directory, "c2"), []);
  const { records } = await directory.list("/drystone/c1/");
  assert.equal(records.length, 3);
  assert.throws(() => directoryKeys.host(CLUSTER, "../x"), /not an id/);
});

test("a record that nobody could read is not written", async () => {
  const { directory, run } = await fresh();
  const host = {
    hostId: "h1",
    name: "one",
    managementAddress: "",
    storageAddress: "s:2",
    managementLinkAddress: "m:3",
    faultDomain: "r1",
  };
  await assert.rejects(run(putHost(directory, CLUSTER, host)), hasCode("record-invalid"));
  const size = { sizeBytes: 2 ** 40, freeBytes: 1, incarnation: 1, frame: 0 };
  const device = { deviceId: "d1", hostId: "h1", path: "", state: "online", ...size } as const;
  await assert.rejects(run(putDevice(directory, CLUSTER, device, 0)), hasCode("record-invalid"));
  assert.deepEqual(await listHosts(directory, CLUSTER), []);
  assert.deepEqual(await listDevices(directory, CLUSTER), []);
});

test("people read whose home it is, and their own names as they are", () => {
  assert.equal(shownName("~guest"), "home of guest");
  assert.equal(shownName("web1@monday"), "web1@monday");
});
