/** Machines whose records are damaged, or were written by a newer version. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { createVm, directoryKeys, findVm, listVms } from "../cluster/index.ts";
import {
  CLUSTER,
  cluster,
  DIRECTORY,
  FAILOVER_MS_MAX,
  running,
  vm,
} from "../../test/support/vm-world.ts";
import type { World } from "../../test/support/vm-world.ts";

const UNREADABLE = [
  [`{"format":99,"name":"a"}`, /has format 99, this program understands format 1/],
  [`{"format":1,"name":"a","cpuCount":"many"}`, /invalid/],
  [`{"format":1,"na`, /it is not JSON/],
] as const;

const KEY = directoryKeys.vm(CLUSTER, "a");

async function write(world: World, value: string): Promise<void> {
  await world.directory.transact([], [{ kind: "put", key: KEY, value }]);
}

test("a machine whose record cannot be read runs on as it is, and all others are looked after", async () => {
  for (const [value, reason] of UNREADABLE)
    await cluster(1, async (world) => {
      const first = await running(world, "a");
      const other = await running(world, "b");
      const whole = (await world.directory.get(KEY))!.value;
      await write(world, value);
      const { vms, unreadable } = await listVms(world.directory, CLUSTER);
      assert.deepEqual(
        vms.map(({ record }) => record.name),
        ["b"],
      );
      assert.match(unreadable[0]!.why, reason);
      await assert.rejects(findVm(world.directory, CLUSTER, "a"), { message: reason });

      await createVm(world.directory, CLUSTER, vm("c"));
      await world.until(() => world.whereIs("c") !== undefined, 5000);
      await world.pass(10_000);
      assert.equal(world.whereIs("a"), first.id, "it is neither ended nor stopped");
      assert.ok(world.events.includes(`${first.id} vm-failed`), "it is told");
      if (other !== first) {
        other.cutPower();
        await world.until(() => world.whereIs("b") !== undefined, FAILOVER_MS_MAX);
      }

      await write(world, whole);
      first.cutPower();
      await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
    });
});

test("of a host whose view cannot be read nothing is taken, and nothing is started there", async () => {
  const unreadable = [
    `{"format":99}`,
    `{"format":1,"reaches":"all","inaccessible":[],"capacity":{"memoryBytes":1,"cpuCount":1}}`,
    `{"format":1,"reaches":[7],"inaccessible":[],"capacity":{"memoryBytes":1,"cpuCount":1}}`,
    `{"format":1,"reaches":[],"inaccessible":[{}],"capacity":{"memoryBytes":1,"cpuCount":1}}`,
    `{"format":1,"reaches":[],"inaccessible":[],"capacity":7}`,
    `{"format":1,"na`,
  ];
  for (const value of unreadable)
    await cluster(3, async (world) => {
      const first = await running(world, "a");
      const second = await running(world, "b");
      const damaged = world.hosts.find((host) => host !== first)!;
      const key = directoryKeys.vmView(CLUSTER, damaged.id);
      await world.directory.transact([], [{ kind: "put", key, value }]);
      await world.pass(10_000);
      assert.equal(world.whereIs("b"), second.id, "it runs on");
      first.cutPower();
      await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
      assert.notEqual(world.whereIs("a"), damaged.id);
      assert.deepEqual(world.doubles, []);
    });
});

test("a machine whose record cannot be read stands still when its host is cut off, and is started by nobody", async () => {
  await cluster(2, async (world) => {
    const host = await running(world, "a");
    const whole = (await world.directory.get(KEY))!.value;
    await write(world, UNREADABLE[0][0]);
    world.fabric.partition([host.address], [DIRECTORY]);
    await world.until(() => world.whereIs("a") === undefined, 6000);
    await world.pass(30_000);
    world.fabric.heal();
    await world.pass(30_000);
    assert.equal(world.whereIs("a"), undefined, "nobody can tell whose it is");
    await write(world, whole);
    await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
  });
});
