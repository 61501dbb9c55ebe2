/**
 * Hosts of the development cluster that are cut off from each other, with etcd as the directory.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { ClusterRun } from "./cluster-run.ts";
import { etcdMissing } from "./etcd.ts";
import { fio } from "./fio.ts";
import { isLong, temporaryFolder } from "./harness.ts";

const STALL_NS_MAX = 20e9;

async function started(t: TestContext, args: readonly string[] = []): Promise<ClusterRun> {
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"), args);
  t.after(() => cluster.kill());
  return cluster;
}

test(
  "a mirrored volume is written and verified while each host in turn is cut off",
  { skip: etcdMissing() ?? false },
  async (t) => {
    const cluster = await started(t, ["--directory", "etcd"]);
    const load = fio({
      uri: cluster.uri,
      args: [
        ...["--rw=randwrite", "--bs=4k", "--iodepth=16", `--size=${isLong ? 1024 : 96}M`],
        ...["--rate_iops=1000", "--verify=crc32c", "--verify_fatal=1"],
      ],
      timeoutMs: 600_000,
    });
    let isOver = false;
    const noted = load.finally(() => (isOver = true));
    const hosts = ["h1", "h2", "h3"];
    for (const [index, host] of hosts.entries()) {
      const other = ((index + 1) % 3) + 1;
      await cluster.dev("partition", "--network", "storage", host);
      await cluster.untilLost(other, host);
      await cluster.dev("heal");
      await cluster.untilWhole(other);
    }
    const wasBusy = !isOver;
    const job = await noted;
    assert.equal(job.error, 0);
    assert.ok(wasBusy, "the load went on while hosts were cut off");
    const longest = Math.max(...Object.values(job.write.clat_ns.percentile ?? {}));
    assert.ok(longest < STALL_NS_MAX, `a write took ${longest / 1e9} s`);
    await cluster.stop();
  },
);

interface StatusShown {
  readonly conditions: readonly { readonly kind: string; readonly hosts: readonly string[] }[];
  readonly views?: readonly object[];
}

interface HostShown {
  readonly name: string;
  readonly storage: string;
  readonly management: string;
}

test("each host tells on which networks the others can be heard", async (t) => {
  const cluster = await started(t);
  const told = async (asked: number, wanted: readonly string[]): Promise<void> => {
    const limit = performance.now() + 30_000;
    for (;;) {
      const { hosts } = await cluster.cli<{ hosts: readonly HostShown[] }>(asked, ["host", "list"]);
      const found = hosts
        .map(({ name, storage, management }) => `${name} ${storage} ${management}`)
        .toSorted();
      if (found.join() === wanted.join()) return;
      assert.ok(performance.now() < limit, `h${asked} says ${found.join()}`);
    }
  };
  const reasonCodes = async (asked: number): Promise<readonly string[]> => {
    const { reasons } = await cluster.cli<{ reasons: readonly { code: string }[] }>(asked, [
      "status",
    ]);
    return reasons.map(({ code }) => code);
  };
  // What all that answer make of it, on the host that is asked.
  const judged = async (asked: number, wanted: readonly string[]): Promise<void> => {
    const limit = performance.now() + 30_000;
    for (;;) {
      const { conditions, views } = await cluster.cli<StatusShown>(asked, ["status"]);
      const found = conditions.map(({ kind, hosts }) => `${kind} ${hosts.join(" ")}`);
      assert.equal(views?.length ?? 0, conditions.length === 0 ? 0 : 3);
      if (found.join() === wanted.join()) return;
      assert.ok(performance.now() < limit, `h${asked} says ${found.join()}`);
    }
  };
  await told(2, ["h1 up up", "h2 up up", "h3 up up"]);
  await judged(2, []);
  await cluster.dev("partition", "--network", "storage", "h1");
  await told(2, ["h1 down up", "h2 up up", "h3 up up"]);
  await told(1, ["h1 up up", "h2 down up", "h3 down up"]);
  await cluster.untilSeen(2, "h1", "storage-unreachable");
  assert.ok((await reasonCodes(1)).includes("storage-isolated"));
  for (const asked of [1, 3]) await judged(asked, ["storage-partition h1 h2 h3"]);
  await cluster.dev("heal");
  await cluster.dev("partition", "--network", "management", "h3");
  await told(2, ["h1 up up", "h2 up up", "h3 up down"]);
  await cluster.untilSeen(2, "h3", "management-unreachable");
  assert.ok((await reasonCodes(2)).includes("management-unreachable"));
  for (const asked of [2, 3]) await judged(asked, ["host-isolated h3"]);
  await cluster.dev("partition", "--network", "storage", "h3");
  await cluster.untilSeen(2, "h3", "down");
  await judged(2, ["host-failed h3"]);
  await judged(3, ["host-isolated h3"]);
  await cluster.dev("heal");
  await told(1, ["h1 up up", "h2 up up", "h3 up up"]);
  await cluster.stop();
});

test("a partition without hosts, of a host that is not there or of all is refused", async (t) => {
  const cluster = await started(t);
  await assert.rejects(cluster.dev("partition"), /needs HOSTS/);
  await assert.rejects(cluster.dev("partition", "h9"), /has no host named h9/);
  await assert.rejects(cluster.dev("partition", "--network", "radio", "h1"), /not "radio h1"/);
  await assert.rejects(cluster.dev("partition", "h1,h2", "h3"), /all hosts are named/);
  await cluster.stop();
});
