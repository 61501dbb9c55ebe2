/** Components that are made anew, and the room that there is for them. */
import assert from "node:assert/strict";
import { CodedError } from "../base/index.ts";
import { changeSettings, dropService, listIntents, putService } from "../cluster/index.ts";
import type { ObjectPolicy, ObjectRecord } from "../cluster/index.ts";
import type { ObjectOwner } from "../object/index.ts";
import { Simulation } from "../sim/index.ts";
import { CLUSTER, ClusterWorld, requestsOf } from "../../test/support/cluster-world.ts";
import type { ClusterHost } from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";

const MIB = 2 ** 20;
const SIZE_BYTES = 8 * MIB;
const MIRROR: ObjectPolicy = { failuresToTolerate: 1, stripes: 1 };
const SINGLE: ObjectPolicy = { failuresToTolerate: 0, stripes: 1 };
const DELAY_MS = 40_000;

interface Story {
  readonly world: ClusterWorld;
  readonly volume: ObjectRecord;
  readonly owner: ObjectOwner;
  /** Whose copy is going to be lost. */
  readonly sick: ClusterHost;
  readonly lost: string;
  /** The only host that could take it. */
  readonly spare: ClusterHost;
}

/** A mirrored volume on three of four hosts, with data that nobody else has. */
async function mirrored(
  seed: number,
  filledBytes: number,
  work: (story: Story) => Promise<void>,
): Promise<void> {
  const world = new ClusterWorld(new Simulation({ seed }), "abcd");
  await world.simulation.run(async () => {
    await world.build();
    await changeSettings(world.directory, CLUSTER, { repairDelayMs: DELAY_MS });
    const made = { name: "v", sizeBytes: SIZE_BYTES, policy: MIRROR };
    const volume = await world.host("a").plane.createVolume(made);
    const [sick, near] = volume.components.map(({ hostId }) => world.hostOf(hostId));
    const used = volume.components.map(({ hostId }) => hostId);
    const spare = [...world.hosts.values()].find(({ hostId }) => !used.includes(hostId));
    assert.ok(sick !== undefined && near !== undefined && spare !== undefined);
    const owner = await world.take(near, volume.objectId);
    await fill(world, owner, filledBytes);
    await work({ world, volume, owner, sick, lost: volume.components[0]!.componentId, spare });
  });
}

async function fill(world: ClusterWorld, owner: ObjectOwner, bytes: number): Promise<void> {
  const data = new Uint8Array(MIB);
  for (let at = 0; at < bytes; at += MIB) {
    world.prng.fill(data);
    assert.equal(await requestsOf(owner).write(data, at), undefined);
  }
}

/** Volumes with one copy, until the host's device has no more than that left. */
async function crowd(world: ClusterWorld, host: ClusterHost, freeBytes: number): Promise<string[]> {
  const others = [...world.hosts.values()].filter((one) => one !== host);
  for (const { hostId: id } of others)
    await putService(world.directory, CLUSTER, { id, kind: "host", mode: "none" });
  await world.pass(2000);
  const names: string[] = [];
  for (;;) {
    await host.device.destage();
    const wanted = Math.floor((host.device.stats().freeBytes - freeBytes) / MIB) * MIB;
    if (wanted <= 0) break;
    const name = `filler${host.letter}${names.length}`;
    const sizeBytes = Math.min(wanted, SIZE_BYTES);
    const made = await host.plane.createVolume({ name, sizeBytes, policy: SINGLE });
    const owner = await host.take(made.objectId);
    await fill(world, owner, sizeBytes);
    await owner.close();
    names.push(name);
  }
  for (const { hostId } of others) await dropService(world.directory, CLUSTER, hostId);
  // The directory hears of a device's room every five seconds.
  await world.pass(6000);
  return names;
}

function isWhole(owner: ObjectOwner, gone: ClusterHost): boolean {
  return owner.record.components.every(
    ({ state, hostId }) => state.kind === "active" && hostId !== gone.hostId,
  );
}

function reasonOf(owner: ObjectOwner, componentId: string): string {
  const { components } = owner.state;
  return components.find((one) => one.componentId === componentId)?.blockedReason ?? "";
}

test("a component is not made where what it holds does not fit, and it is told how much that is", async () => {
  await mirrored(1, SIZE_BYTES, async ({ world, volume, owner, sick, lost, spare }) => {
    const [filler] = await crowd(world, spare, 6 * MIB);
    const freeBytes = spare.device.stats().freeBytes;
    sick.failed.add("/dev/one");
    await world.pass(2 * DELAY_MS);
    assert.ok(!world.heard("component-building"), world.events.join("\n"));
    assert.equal(spare.device.stats().freeBytes, freeBytes);
    const told = world.events.filter((event) => event.startsWith("repair-blocked"));
    assert.equal(told.length, 1, world.events.join("\n"));
    const where = `/dev/one on ${spare.letter}, has`;
    assert.match(told[0]!, /no device may take component .* of v: it holds 8 MiB, and of 1 /);
    assert.ok(told[0]!.includes(where), told[0]);
    assert.match(told[0]!, /; delete or discard data there, or add a device or a host/);
    assert.match(reasonOf(owner, lost), /it holds 8 MiB/);
    await spare.plane.deleteVolume(filler!);
    await world.until(() => isWhole(owner, sick));
    await owner.close();
    await world.assertEqualCopies(volume.objectId);
    await world.assertClean();
  });
});

test("a change of policy that has no room is refused before anything is made", async () => {
  const world = new ClusterWorld(new Simulation({ seed: 5 }), "abc");
  await world.simulation.run(async () => {
    await world.build();
    const made = { name: "v", sizeBytes: SIZE_BYTES, policy: SINGLE };
    const volume = await world.host("a").plane.createVolume(made);
    const home = world.hostOf(volume.components[0]!.hostId);
    const owner = await world.take(home, volume.objectId);
    await fill(world, owner, SIZE_BYTES);
    const others = [...world.hosts.values()].filter((host) => host !== home);
    const fillers = new Map<ClusterHost, readonly string[]>();
    for (const host of others) fillers.set(host, await crowd(world, host, 6 * MIB));
    await home.device.destage();
    await world.pass(6000);
    const there = others.map(({ device }) => device.components().length);
    const begin = (policy: ObjectPolicy): Promise<ObjectRecord> =>
      home.plane.policies.begin("v", policy);
    await assert.rejects(begin(MIRROR), (error: unknown) => {
      assert.ok(error instanceof CodedError);
      assert.equal(error.code, "policy-no-room");
      const where = "v needs 1 new copy with 8 MiB, .*: of 2 devices that could take it the one";
      assert.match(error.message, new RegExp(`${where} with the most, /dev/one on [abc], has `));
      assert.equal(error.fault.hint, "delete or discard data there, or add a device or a host");
      return true;
    });
    assert.equal((await world.record(volume.objectId)).change, undefined);
    assert.deepEqual(await listIntents(world.directory, CLUSTER), []);
    assert.deepEqual(
      others.map(({ device }) => device.components().length),
      there,
    );
    const [first] = others;
    await home.plane.deleteVolume(fillers.get(first!)![0]!);
    await world.pass(6000);
    await begin(MIRROR);
    await world.until(() => owner.record.policy.failuresToTolerate === 1);
    const copies = owner.record.components.slice(0, 2).map(({ hostId }) => hostId);
    assert.ok(copies.includes(first!.hostId), "the witness is where there is no room");
    await owner.close();
    await world.assertEqualCopies(volume.objectId);
    await world.assertClean();
  });
});

test("stripes on the devices that hold the volume need no room", async () => {
  const world = new ClusterWorld(new Simulation({ seed: 6 }), "a");
  await world.simulation.run(async () => {
    await world.build();
    const made = { name: "v", sizeBytes: SIZE_BYTES, policy: SINGLE };
    const { plane } = world.host("a");
    const volume = await plane.createVolume(made);
    const owner = await world.take(world.host("a"), volume.objectId);
    await fill(world, owner, SIZE_BYTES);
    await crowd(world, world.host("a"), 6 * MIB);
    await plane.policies.begin("v", { failuresToTolerate: 0, stripes: 2 });
    await world.until(() => owner.record.policy.stripes === 2);
    await owner.close();
    await world.assertClean();
  });
});

test("what runs out of room while it is made is given up, says so, and is made when there is room", async () => {
  await mirrored(2, SIZE_BYTES, async ({ world, volume, owner, sick, lost, spare }) => {
    const fillers = await crowd(world, spare, 6 * MIB);
    // As if data had come of which the directory has not heard yet.
    const { device } = spare;
    const stats = device.stats.bind(device);
    device.stats = () => ({ ...stats(), freeBytes: stats().freeBytes + 16 * MIB });
    await world.pass(6000);
    sick.failed.add("/dev/one");
    await world.until(() => world.heard("component-building"));
    await world.until(() => world.heard("component-abandoned"));
    const given = world.events.filter((event) => event.startsWith("component-abandoned"));
    assert.match(given[0]!, /made on host d+, is given up: its device is full/);
    assert.ok(world.events.some((event) => /^repair-blocked: .* its device is full/.test(event)));
    await world.until(() => /run full/.test(reasonOf(owner, lost)));
    await world.until(() => device.components().length === fillers.length);
    await spare.plane.deleteVolume(fillers[0]!);
    await world.until(() => isWhole(owner, sick));
    await owner.close();
    await world.assertEqualCopies(volume.objectId);
    await world.assertClean();
  });
});

test("a copy that comes back to a device that is full waits there, and it is told once", async () => {
  await mirrored(3, MIB, async ({ world, volume, owner, sick, lost }) => {
    // Else it would leave the device, since that is nearly full.
    await changeSettings(world.directory, CLUSTER, { rebuildsAtOnce: 0 });
    const fillers = await crowd(world, sick, 3 * MIB);
    sick.crash();
    await fill(world, owner, SIZE_BYTES);
    await sick.start();
    await world.until(() => reasonOf(owner, lost).includes("its device is full"));
    await world.pass(DELAY_MS / 2);
    assert.match(reasonOf(owner, lost), /^its device is full: delete or discard data there$/);
    const told = world.events.filter((event) => /^repair-blocked: .*device is full/.test(event));
    assert.equal(told.length, 1, told.join("\n"));
    await sick.plane.deleteVolume(fillers[0]!);
    await world.untilActive(volume.objectId);
    assert.equal(reasonOf(owner, lost), "");
    await owner.close();
    await world.assertEqualCopies(volume.objectId);
    await world.assertClean();
  });
});
