/**
 * Another policy for a volume in use, on real hosts: no client sees an error, the data is the same
 * afterwards, and a host that has the contents already is not sent them.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { ClusterRun } from "./cluster-run.ts";
import { fio } from "./fio.ts";
import { temporaryFolder } from "./harness.ts";
import { randomBytes, RebuildWorld } from "./rebuild-world.ts";

const VOLUME_BYTES = 8 << 20;
const DONE_MS_MAX = 60_000;

interface Shown {
  readonly failuresToTolerate: number;
  readonly stripes: number;
  readonly change?: object;
}

async function untilChanged(cluster: ClusterRun, name: string): Promise<Shown> {
  const deadline = performance.now() + DONE_MS_MAX;
  for (;;) {
    const shown = await cluster.cli<Shown>(2, ["volume", "show", name]);
    if (shown.change === undefined) return shown;
    assert.ok(performance.now() < deadline, `it does not come to an end: ${JSON.stringify(shown)}`);
    await pause(100);
  }
}

test("a volume changes its policy under verified load, and is what it was", async (t) => {
  const folder = path.join(temporaryFolder(t), "c");
  const cluster = await ClusterRun.create(folder, ["--hosts", "4"]);
  t.after(() => cluster.kill());
  const world = new RebuildWorld(cluster, 4);
  const data = randomBytes(5, VOLUME_BYTES);
  await world.create("still", data, 0);
  await world.create("busy", Buffer.alloc(VOLUME_BYTES), 1);
  const load = fio({
    uri: `nbd+unix:///busy?socket=${path.join(folder, "busy.sock")}`,
    args: [
      ...["--rw=randwrite", "--bs=4k", "--iodepth=4", `--size=${VOLUME_BYTES}`],
      ...["--rate_iops=400", "--verify=crc32c", "--verify_fatal=1"],
    ],
    timeoutMs: 120_000,
  });
  const set = ["volume", "set"];
  await cluster.cli(1, [...set, "still", "--failures-to-tolerate", "1"]);
  const begun = await cluster.cli<Shown>(1, [...set, "busy", "--stripes", "2"]);
  assert.deepEqual(begun.change, { failuresToTolerate: 1, stripes: 2 });
  assert.equal((await untilChanged(cluster, "busy")).stripes, 2);
  assert.equal((await untilChanged(cluster, "still")).failuresToTolerate, 1);
  await cluster.cli(1, [...set, "busy", "--stripes", "1", "--failures-to-tolerate", "0"]);
  assert.equal((await untilChanged(cluster, "busy")).failuresToTolerate, 0);
  assert.equal((await load).error, 0);
  await world.untilWhole(["still", "busy"]);
  assert.ok(await world.holds("still", data));
  await assert.rejects(
    cluster.cli(1, [...set, "still", "--failures-to-tolerate", "2"]),
    /2 failures to tolerate need 5 fault domains .* there are 4/,
  );
});
