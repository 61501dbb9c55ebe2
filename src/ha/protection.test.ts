/** Machines while the storage network is split and the management network is not. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { createVm, directoryKeys, findVm, isProtected, swapVm } from "../cluster/index.ts";
import type { VmRecord } from "../cluster/index.ts";
import { CLUSTER, cluster, running, vm } from "../../test/support/vm-world.ts";
import type { World } from "../../test/support/vm-world.ts";

const FIVE = ["h1", "h2", "h3", "h4", "h5"] as const;
const MINORITY = ["h1", "h2"] as const;
const MAJORITY = ["h3", "h4", "h5"] as const;
const MOVE_MS_MAX = 15_000;

async function record(world: World, name: string): Promise<VmRecord> {
  return (await findVm(world.directory, CLUSTER, name)).record;
}

async function master(world: World): Promise<string | undefined> {
  return (await world.directory.get(directoryKeys.vmMaster(CLUSTER)))?.value;
}

/** Some other machine is there, so that hosts are on duty, and this one decides. */
async function untilMaster(world: World, hostId: string): Promise<void> {
  await createVm(world.directory, CLUSTER, { ...vm("other"), desired: "stopped" });
  for (const host of world.hosts) if (host.id !== hostId) host.kill();
  await world.until(async () => (await master(world)) === hostId, 20_000);
  for (const host of world.hosts) if (host.id !== hostId) host.start();
  await world.pass(3000);
}

const isSafe = async (world: World, name: string): Promise<boolean> =>
  isProtected(await record(world, name));

test("a master that does not reach a machine's home has another host write it", async () => {
  await cluster(
    1,
    async (world) => {
      await untilMaster(world, "h1");
      world.homes.split(MINORITY, MAJORITY);
      await world.pass(2000);
      world.homes.messages.length = 0;
      await createVm(world.directory, CLUSTER, { ...vm("a"), desired: "stopped" });
      await world.until(() => isSafe(world, "a"), 5000);
      assert.deepEqual(world.homes.homes.get("a"), { vm: "a", sequence: 1, isProtected: true });
      const ofA = world.homes.messages;
      assert.equal(ofA.filter(({ kind }) => kind === "persist").length, 1);
      assert.ok(MAJORITY.some((id) => id === ofA.find(({ kind }) => kind === "persist")?.to));
      const { history } = await record(world, "a");
      assert.match(history.at(-1)?.because ?? "", /h\d has written it .* h1 cannot write it/);
    },
    5,
  );
});

test("hosts are asked at once, one of each side of the storage network first", async () => {
  await cluster(
    2,
    async (world) => {
      await untilMaster(world, "h1");
      world.homes.split(["h1"], ["h2"], ["h3", "h4", "h5"]);
      await world.pass(2000);
      world.homes.messages.length = 0;
      await createVm(world.directory, CLUSTER, { ...vm("a"), desired: "stopped" });
      await world.until(() => isSafe(world, "a"), 5000);
      const queries = world.homes.messages.filter(({ kind }) => kind === "query");
      assert.deepEqual(queries.map(({ to }) => to).toSorted(), ["h2", "h3"]);
      const [first, second] = queries;
      assert.ok(
        first!.fromMs < second!.toMs && second!.fromMs < first!.toMs,
        "one after the other",
      );
    },
    5,
  );
});

test("a new master finds what the one before had written, on whichever side", async () => {
  await cluster(
    3,
    async (world) => {
      await untilMaster(world, "h1");
      await createVm(world.directory, CLUSTER, { ...vm("a"), desired: "stopped" });
      await world.until(() => isSafe(world, "a"), 5000);
      // As if the master had died before it could say so.
      const stored = await findVm(world.directory, CLUSTER, "a");
      for (const host of world.hosts) if (host.id !== "h2") host.cutPower();
      await swapVm(world.directory, CLUSTER, stored, { ...stored.record, persistedSequence: 0 });
      world.homes.split(["h2", "h1"], MAJORITY);
      for (const host of world.hosts) if (host.host === undefined) host.start();
      await world.until(() => isSafe(world, "a"), 20_000);
      const { history } = await record(world, "a");
      assert.match(history.at(-1)?.because ?? "", /found in its home by the new master/);
    },
    5,
  );
});

test("what nobody can write down is not protected, and is as soon as somebody can", async () => {
  await cluster(
    4,
    async (world) => {
      await untilMaster(world, "h1");
      world.homes.split(MINORITY, ["h3", "h4"], ["h5"]);
      await world.pass(2000);
      await createVm(world.directory, CLUSTER, { ...vm("a"), desired: "stopped" });
      await world.pass(10_000);
      assert.ok(!(await isSafe(world, "a")));
      assert.equal(world.homes.homes.get("a"), undefined);
      const { history } = await record(world, "a");
      assert.match(history.at(-1)?.because ?? "", /no host reaches its home/);
      world.homes.heal();
      // Well before the next attempt without a reason: the change is what begins it.
      await world.until(() => isSafe(world, "a"), 5000);
    },
    5,
  );
});

test("a machine that is not protected yet is not started elsewhere", async () => {
  await cluster(
    5,
    async (world) => {
      await untilMaster(world, "h1");
      const host = await running(world, "a");
      world.homes.isReadOnly = true;
      const stored = await findVm(world.directory, CLUSTER, "a");
      const protectionSequence = stored.record.protectionSequence + 1;
      await swapVm(world.directory, CLUSTER, stored, { ...stored.record, protectionSequence });
      host.cutPower();
      await world.pass(20_000);
      assert.equal(world.whereIs("a"), undefined);
      world.homes.isReadOnly = false;
      await world.until(() => world.whereIs("a") !== undefined, 40_000);
    },
    5,
  );
});

test("a machine whose host loses its storage is ended there and runs on the side that has it", async () => {
  for (let seed = 10; seed < 16; seed++)
    await cluster(
      seed,
      async (world) => {
        const host = await running(world, "a");
        await world.pass(world.simulation.prng.below(3000));
        const others = FIVE.filter((id) => id !== host.id);
        // The master may be on either side.
        const isMasterAlone = world.simulation.prng.chance(0.5);
        const chief = (await master(world)) ?? "";
        const alone = isMasterAlone ? [host.id, chief] : [host.id];
        world.homes.split(
          alone,
          others.filter((id) => !alone.includes(id)),
        );
        const isMoved = (): boolean => {
          const where = world.whereIs("a");
          return where !== undefined && !alone.includes(where);
        };
        await world.until(isMoved, MOVE_MS_MAX);
        const { history } = await record(world, "a");
        assert.ok(history.some(({ what }) => what === `sent away from ${host.id}`));
        assert.ok(history.some(({ what }) => what === "ended here"));
        world.homes.heal();
        const where = world.whereIs("a");
        await world.pass(5000);
        assert.equal(world.whereIs("a"), where, "it stays");
      },
      5,
    );
});

test("a host that has not said what it reaches has not lost it, and keeps its machines", async () => {
  await cluster(17, async (world) => {
    const host = await running(world, "a");
    const key = directoryKeys.vmView(CLUSTER, host.id);
    // As it is between a lease that has ended and what is said under the next one.
    await world.directory.transact([], [{ kind: "delete", key }]);
    await world.pass(10_000);
    const { history } = await record(world, "a");
    assert.ok(!history.some(({ what }) => what.startsWith("sent away")));
    assert.equal(world.whereIs("a"), host.id);
  });
});

test("a machine that nobody reaches stays where it is, and waits when its host fails", async () => {
  await cluster(
    20,
    async (world) => {
      const host = await running(world, "a");
      world.homes.split(...FIVE.map((id) => [id]));
      await world.pass(10_000);
      assert.equal(world.whereIs("a"), host.id, "nobody could run it better");
      host.cutPower();
      await world.pass(15_000);
      assert.equal(world.whereIs("a"), undefined);
      const { history } = await record(world, "a");
      assert.equal(history.at(-1)?.what, "waits for objects");
      assert.match(history.at(-1)?.because ?? "", /too few votes are in reach/);
      world.homes.heal();
      await world.until(() => world.whereIs("a") !== undefined, 5000);
    },
    5,
  );
});
