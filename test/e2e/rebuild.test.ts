/**
 * What is made anew after the loss of a disk, on real hosts: how much is sent, and that it is
 * right.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { ClusterRun } from "./cluster-run.ts";
import { fio } from "./fio.ts";
import { isLong, temporaryFolder } from "./harness.ts";
import { BLOCK, changedCopy, contentsOf, randomBytes, RebuildWorld } from "./rebuild-world.ts";

const VOLUMES = isLong ? 8 : 4;
const VOLUME_BYTES = isLong ? 64 << 20 : 8 << 20;

test("a wiped disk is sent each content once that it lacks, and no more", async (t) => {
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"));
  t.after(() => cluster.kill());
  const world = new RebuildWorld(cluster, 3);
  const base = randomBytes(1, VOLUME_BYTES);
  base.fill(0, 0, VOLUME_BYTES / 8);
  const volumes = new Map<string, Buffer>();
  for (let i = 0; i < VOLUMES; i++) volumes.set(`v${i}`, changedCopy(base, i / 20, i + 2));
  for (const [name, data] of volumes) await world.create(name, data, 1);
  await world.destaged();
  const [lost, held] = await mostOf(world, [...volumes.keys()]);
  const lacked = new Set<string>();
  for (const name of held) for (const one of contentsOf(volumes.get(name)!)) lacked.add(one);
  const { components } = await world.show(held[0]!);
  const wiped = components.find(({ host }) => host === lost)?.device;
  await cluster.dev("kill", lost);
  fs.rmSync(path.join(cluster.folder, lost, "device"), { recursive: true });
  await cluster.dev("start", lost);
  await cluster.untilSeen(1, lost, "up");
  // It is back so soon that others may not have seen yet what it came with.
  await world.untilWhole([...volumes.keys()], wiped);
  const { bytesSent } = await world.rebuilt();
  const lackedBytes = lacked.size * BLOCK;
  t.diagnostic(`${bytesSent} bytes sent, ${lackedBytes} lacked, by ${held.length} copies`);
  assert.ok(Math.abs(bytesSent - lackedBytes) <= 0.02 * lackedBytes, `${bytesSent} were sent`);
  for (const [name, data] of volumes) assert.ok(await world.holds(name, data), name);
});

/** Of the hosts that nobody speaks to, the one with the most copies, and whose they are. */
async function mostOf(
  world: RebuildWorld,
  names: readonly string[],
): Promise<readonly [string, readonly string[]]> {
  const held = new Map<string, string[]>([
    ["h2", []],
    ["h3", []],
  ]);
  for (const name of names)
    for (const host of await world.holders(name)) held.get(host)?.push(name);
  const [most] = [...held].toSorted(([, a], [, b]) => b.length - a.length);
  assert.ok(most !== undefined && most[1].length >= 2, "a host holds several copies");
  return most;
}

interface Plan {
  readonly isReady: boolean;
  readonly bytesAtMost: number;
  /** Once something was made anew in this cluster. */
  readonly secondsAtMost?: number;
}

const ALL = ["full", "busy", "demo"];

/** Empties the host while somebody writes and reads again what was written. */
async function emptied(world: RebuildWorld, leaving: string): Promise<Plan & { seconds: number }> {
  const { cluster } = world;
  const load = fio({
    uri: `nbd+unix:///busy?socket=${path.join(cluster.folder, "busy.sock")}`,
    args: [
      ...["--rw=randwrite", "--bs=4k", "--iodepth=4", `--size=${VOLUME_BYTES}`],
      ...["--rate_iops=400", "--verify=crc32c", "--verify_fatal=1"],
    ],
    timeoutMs: 240_000,
  });
  const args = ["host", "maintenance", "on", leaving, "--mode", "evacuate"];
  const plan = await cluster.cli<Plan>(1, [...args, "--dry-run"]);
  await cluster.cli(1, args);
  const beginMs = performance.now();
  await world.untilWhole(ALL, leaving);
  const seconds = (performance.now() - beginMs) / 1000;
  assert.equal((await load).error, 0);
  const { isReady } = await cluster.cli<Plan>(1, [...args, "--dry-run"]);
  assert.ok(isReady, "it may be stopped");
  return { ...plan, seconds };
}

test("hosts are emptied under verified load, and the dry run was right about it", async (t) => {
  const folder = path.join(temporaryFolder(t), "c");
  const cluster = await ClusterRun.create(folder, ["--hosts", "4"]);
  t.after(() => cluster.kill());
  const world = new RebuildWorld(cluster, 4);
  const data = randomBytes(9, 3 * VOLUME_BYTES);
  await world.create("full", data, 1);
  await world.create("busy", Buffer.alloc(VOLUME_BYTES), 1);
  await world.destaged();
  for (const isFirst of [true, false]) {
    const [leaving] = await world.holders("full");
    const before = await world.rebuilt();
    const { bytesAtMost, seconds, secondsAtMost } = await emptied(world, leaving!);
    const bytesNeeded = (await world.rebuilt()).bytesNeeded - before.bytesNeeded;
    t.diagnostic(
      `${leaving}: ${bytesAtMost} bytes planned, ${bytesNeeded} needed; ` +
        `${secondsAtMost?.toFixed(1) ?? "unknown"} s planned, ${seconds.toFixed(1)} s taken`,
    );
    // The load goes on meanwhile: it adds to what has to be copied.
    assert.ok(bytesNeeded >= 0.85 * bytesAtMost, "less was copied than the plan said");
    assert.ok(bytesNeeded <= 1.15 * bytesAtMost + VOLUME_BYTES, "more was copied");
    // Nobody knows how fast this cluster is before it has made something anew.
    assert.equal(secondsAtMost === undefined, isFirst);
    assert.ok(await world.holds("full", data));
    await cluster.cli(1, ["host", "maintenance", "off", leaving!]);
  }
});
