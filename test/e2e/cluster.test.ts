/**
 * Three hosts as real processes, a mirrored volume under verified load, hosts that are killed and
 * started again.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { StatsView, VolumeView } from "../../src/host/index.ts";
import { fio } from "./fio.ts";
import { ClusterRun } from "./cluster-run.ts";
import { PacedLoad } from "./paced-load.ts";
import { isLong, temporaryFolder } from "./harness.ts";

/** A stall is the death of a host, found out and dealt with. */
const STALL_NS_MAX = 20e9;

const ORDERS = [
  ["h3", "h2", "h1"],
  ["h2", "h3", "h1"],
  ["h1", "h2", "h3"],
  ["h1", "h3", "h2"],
  ["h2", "h1", "h3"],
  ["h3", "h1", "h2"],
] as const;

async function started(t: TestContext): Promise<ClusterRun> {
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"));
  t.after(() => cluster.kill());
  return cluster;
}

test("a mirrored volume is written and verified while each host in turn is killed", async (t) => {
  const cluster = await started(t);
  const megabytes = isLong ? 256 : 32;
  const args = [
    ...["--rw=randwrite", "--bs=4k", "--iodepth=16", `--size=${megabytes}M`],
    ...["--rate_iops=2000", "--verify=crc32c", "--verify_fatal=1"],
  ];
  const faults = killInTurn(cluster);
  const state = { isOver: false };
  const ended = faults.finally(() => (state.isOver = true));
  // Written and verified again and again, however long the hosts take.
  while (!state.isOver) {
    const job = await fio({ uri: cluster.uri, args, timeoutMs: 600_000 });
    assert.equal(job.error, 0);
    const longest = Math.max(...Object.values(job.write.clat_ns.percentile ?? {}));
    assert.ok(longest < STALL_NS_MAX, `a write took ${longest / 1e9} s`);
  }
  await ended;
});

async function killInTurn(cluster: ClusterRun): Promise<void> {
  for (const [index, host] of ["h1", "h2", "h3"].entries()) {
    await cluster.dev("kill", host);
    const other = ((index + 1) % 3) + 1;
    await cluster.untilLost(other, host);
    await cluster.dev("start", host);
    await cluster.untilWhole(other);
  }
}

test("all hosts are killed at once and started again, and nothing is lost", async (t) => {
  const cluster = await started(t);
  const verified = ["--bs=64k", "--iodepth=8", "--size=64M", "--verify=crc32c"];
  const options = { uri: cluster.uri, timeoutMs: 120_000 };
  await fio({ ...options, args: ["--rw=write", "--do_verify=0", ...verified] });
  await cluster.kill();
  await cluster.start();
  await fio({ ...options, args: ["--rw=read", ...verified] });
  const shown = await cluster.untilWhole(1);
  assert.ok(shown.accessible);
  await cluster.stop();
});

test("all hosts are killed at once and come back in any order; clients wait, and nothing is lost", async (t) => {
  const cluster = await started(t);
  const address = { socket: path.join(cluster.folder, "demo.sock"), exportName: "demo" };
  const load = await PacedLoad.start(address, 4);
  for (const order of isLong ? ORDERS : ORDERS.slice(0, 2)) {
    await load.progress(40);
    await Promise.all(order.map((host) => cluster.dev("kill", host)));
    for (const host of order) await cluster.dev("start", host);
    await cluster.untilWhole(1);
    await load.progress(40);
  }
  await load.stop();
  await load.verify(address);
  await cluster.stop();
});

test("a volume whose copies are gone is told of before anybody asks it for something", async (t) => {
  const cluster = await started(t);
  const { components } = await cluster.cli<VolumeView>(1, [
    "volume",
    "create",
    "v",
    "--size",
    "1G",
  ]);
  const hostOf = (index: number): string => components[index]!.host;
  const { tree } = await cluster.cli<VolumeView>(1, ["volume", "show", "v"]);
  assert.equal(tree.children?.at(-1)?.kind, "witness");
  const voter = hostOf(2);
  await cluster.cli(1, ["volume", "attach", "v", "--host", voter]);
  const number = Number(voter.slice(1));
  const shown = (): Promise<VolumeView> => cluster.cli<VolumeView>(number, ["volume", "show", "v"]);
  for (const host of [hostOf(0), hostOf(1)]) {
    assert.deepEqual([(await shown()).accessible, (await shown()).owner], [true, voter], host);
    await cluster.dev("kill", host);
    await cluster.untilSeen(number, host, "down");
  }
  const { accessible, reason } = await shown();
  assert.equal(accessible, false);
  assert.match(reason ?? "", /no complete copy is in reach|components 2 are not there/);
});

test("each host tells metrics of its own process and devices, which add up to the cluster's", async (t) => {
  const cluster = await started(t);
  const { memory, caches } = await cluster.cli<StatsView>(1, ["stats"]);
  const texts = await Promise.all(
    [1, 2, 3].map(async (host) => await (await fetch(`${cluster.api(host)}/metrics`)).text()),
  );
  const plans = texts.map((text) =>
    Number(/drystone_memory{counter="planBytes"} (\d+)/.exec(text)?.[1]),
  );
  assert.equal(plans[0]! + plans[1]! + plans[2]!, memory["planBytes"]);
  const devices = texts.flatMap((text) =>
    [...text.matchAll(/^drystone_device_cache_hits_total{.*device="(\w+)"/gm)].map(
      (one) => one[1]!,
    ),
  );
  assert.deepEqual(devices.toSorted(), caches.map(({ deviceId }) => deviceId).toSorted());
});

test("a policy that the hosts cannot keep is refused, and says what is missing", async (t) => {
  const cluster = await started(t);
  const create = ["volume", "create", "big", "--size", "1G", "--failures-to-tolerate", "2"];
  await assert.rejects(
    cluster.cli(1, create),
    /2 failures to tolerate need 5 fault domains with a device, and there are 3/,
  );
  const volumes = await cluster.cli<{ volumes: readonly { name: string }[] }>(2, [
    ...["volume", "list"],
  ]);
  assert.deepEqual(
    volumes.volumes.map(({ name }) => name),
    ["demo"],
  );
  const two = await cluster.cli<VolumeView>(3, [
    ...["volume", "create", "two", "--size", "1G", "--stripes", "2"],
  ]);
  assert.equal(two.failuresToTolerate, 1, "of several hosts one may fail unless somebody says so");
  await cluster.cli(1, ["volume", "delete", "two"]);
  await cluster.stop();
});
