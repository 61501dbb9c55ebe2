/**
 * A lease has ended, another host has taken a volume over, and the lease is granted anew before the
 * one that had the volume hears of that: its directory answers again, and its watches lag.
 */
import assert from "node:assert/strict";
import { CodedError } from "../base/index.ts";
import { directoryKeys } from "../cluster/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import type { Directory } from "../ports/index.ts";
import { Simulation } from "../sim/index.ts";
import { CLUSTER, ClusterWorld, requestsOf } from "../../test/support/cluster-world.ts";
import type { ClusterHost } from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";

const BLOCK = 4096;
const MADE = {
  ...{ name: "v", sizeBytes: 1 << 20 },
  policy: { failuresToTolerate: 1, stripes: 1 },
} as const;

/** The way of one host to the directory. */
class Way implements Directory {
  isCut = false;
  /** Events wait here while they lag, and changes of records while they are held up. */
  lagging: (() => void)[] | undefined;
  heldUp: (() => void)[] | undefined;
  readonly #directory: Directory;
  readonly #passed: () => Promise<void>;

  constructor(directory: Directory, passed: () => Promise<void>) {
    this.#directory = directory;
    this.#passed = passed;
  }

  async #reach(): Promise<Directory> {
    await this.#passed();
    if (!this.isCut) return this.#directory;
    throw new CodedError({ code: "directory-unavailable", message: "it is cut off" });
  }

  get: Directory["get"] = async (key) => (await this.#reach()).get(key);
  list: Directory["list"] = async (prefix) => (await this.#reach()).list(prefix);
  stamp: Directory["stamp"] = async (prefix) => (await this.#reach()).stamp(prefix);
  grantLease: Directory["grantLease"] = async (ttlMs) => (await this.#reach()).grantLease(ttlMs);
  keepAlive: Directory["keepAlive"] = async (lease) => (await this.#reach()).keepAlive(lease);
  revokeLease: Directory["revokeLease"] = async (lease) => (await this.#reach()).revokeLease(lease);
  close: Directory["close"] = async () => {};

  transact: Directory["transact"] = async (...change) => {
    await this.#reach();
    const { heldUp } = this;
    if (heldUp !== undefined) await new Promise<void>((resolve) => void heldUp.push(resolve));
    return await this.#directory.transact(...change);
  };

  watch: Directory["watch"] = (prefix, after, onEvent, onLost) =>
    this.#directory.watch(
      prefix,
      after,
      (event) => {
        if (this.lagging === undefined) onEvent(event);
        else this.lagging.push(() => onEvent(event));
      },
      onLost,
    );
}

interface Scene {
  readonly world: ClusterWorld;
  readonly volume: ObjectRecord;
  readonly wayOf: (host: ClusterHost) => Way;
  /** With a copy each. */
  readonly one: ClusterHost;
  readonly two: ClusterHost;
  /** With none. */
  readonly third: ClusterHost;
}

async function scene(seed: number, work: (scene: Scene) => Promise<void>): Promise<void> {
  const simulation = new Simulation({ seed });
  const world = new ClusterWorld(simulation, "abc");
  const ways = new Map<ClusterHost, Way>();
  const wayOf = (host: ClusterHost): Way => {
    const way = ways.get(host) ?? new Way(world.directory, () => world.pass(1));
    ways.set(host, way);
    return way;
  };
  world.directoryOf = wayOf;
  await simulation.run(async () => {
    await world.build();
    const volume = await world.host("a").plane.createVolume(MADE);
    const [one, two, third] = volume.components.map(({ hostId }) => world.hostOf(hostId));
    await work({ world, volume, wayOf, one: one!, two: two!, third: third! });
  });
}

/** What a host that had the volume reads: nothing, since it may be old. */
async function assertReadsNothing(old: ReturnType<typeof requestsOf>): Promise<void> {
  const { fault, bytes } = await old.read(0, BLOCK);
  assert.equal(fault, "not-owner", `read ${bytes[0]}`);
}

const filled = (value: number): Uint8Array => new Uint8Array(BLOCK).fill(value);

/** Writes 1 on one host and 2 on the next, which takes the volume while the first has no lease. */
async function handOver(
  { world, volume, wayOf, two }: Scene,
  from: ClusterHost,
  cut: () => void = () => {},
) {
  const old = requestsOf(await world.take(from, volume.objectId));
  assert.equal(await old.write(filled(1), 0), undefined);
  // What is read is kept where there is no copy.
  for (let i = 0; i < 3; i++) assert.equal((await old.read(0, BLOCK)).bytes[0], 1);
  const way = wayOf(from);
  way.isCut = true;
  way.lagging = [];
  cut();
  const next = await world.take(two, volume.objectId);
  assert.equal(await requestsOf(next).write(filled(2), 0), undefined);
  return { old, next, way };
}

test("an owner that was cut off reads nothing more once it has a lease again", async () => {
  await scene(1, async (all) => {
    const { world, one, two, third } = all;
    const { old, next, way } = await handOver(all, one, () =>
      world.fabric.partition([one.address], [two.address, third.address]),
    );
    way.isCut = false;
    await world.until(() => one.plane.isLeaseAlive());
    await assertReadsNothing(old);
    await next.close();
  });
});

test("nor where only its way to the directory was cut, from what it has kept of other hosts", async () => {
  await scene(3, async (all) => {
    const { old, next, way } = await handOver(all, all.third);
    way.isCut = false;
    await all.world.until(() => all.third.plane.isLeaseAlive());
    await assertReadsNothing(old);
    await next.close();
  });
});

test("nor where its lease is back before a change of hands that began without it is through", async () => {
  await scene(2, async ({ world, volume, wayOf, one, two, third }) => {
    const old = requestsOf(await world.take(one, volume.objectId));
    assert.equal(await old.write(filled(1), 0), undefined);
    const [way, other] = [wayOf(one), wayOf(two)];
    way.isCut = true;
    const key = directoryKeys.alive(CLUSTER, one.hostId);
    await world.until(async () => (await world.directory.get(key)) === undefined);
    other.heldUp = [];
    const taking = two.take(volume.objectId);
    await world.until(() => (other.heldUp?.length ?? 0) > 0);
    way.isCut = false;
    await world.until(() => one.plane.isLeaseAlive());
    way.lagging = [];
    world.fabric.partition([one.address], [two.address, third.address]);
    const changes = other.heldUp;
    other.heldUp = undefined;
    for (const change of changes) change();
    const next = await taking;
    assert.equal(await requestsOf(next).write(filled(2), 0), undefined);
    assert.ok(one.plane.isLeaseAlive());
    await assertReadsNothing(old);
    await next.close();
  });
});
