/** How soon hosts that have failed are known to have, on a network that is well. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { directoryKeys, findVm } from "../cluster/index.ts";
import { CLUSTER, cluster, running } from "../../test/support/vm-world.ts";

const SEEDS = process.env["DRYSTONE_LONG"] === "1" ? 200 : 10;
/** Until every host has had a short lease for a while. */
const SETTLED_MS = 75_000;

function share(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
}

test("a host that lost its power is known to have failed within 3 s at p50, and a master is elected", async (t) => {
  const foundMs: number[] = [];
  const electedMs: number[] = [];
  for (let seed = 1; seed <= SEEDS; seed++)
    await cluster(
      seed,
      async (world) => {
        const host = await running(world, "a");
        const key = directoryKeys.vmMaster(CLUSTER);
        await world.pass(SETTLED_MS + world.simulation.prng.below(5000));
        const master = world.host((await world.directory.get(key))?.value);
        const begin = world.simulation.nowMs;
        host.cutPower();
        await world.until(async () => {
          const { record } = await findVm(world.directory, CLUSTER, "a");
          return record.hostId !== host.id;
        }, 6000);
        foundMs.push(world.simulation.nowMs - begin);
        if (master === host) electedMs.push(world.simulation.nowMs - begin);
      },
      5,
    );
  for (const list of [foundMs, electedMs]) list.sort((a, b) => a - b);
  const [p50, p99] = [share(foundMs, 0.5), share(foundMs, 0.99)];
  const worst = electedMs.at(-1) ?? 0;
  t.diagnostic(`placed elsewhere after ${p50} ms at p50, ${p99} ms at p99, of ${SEEDS}`);
  t.diagnostic(`by a master elected for it after ${worst} ms at most, of ${electedMs.length}`);
  assert.ok(p50 <= 3000 && p99 <= 5000);
  assert.ok(worst <= 3500);
});
