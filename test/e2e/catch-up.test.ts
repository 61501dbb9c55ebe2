/**
 * What a host that comes back is sent, on real processes: what it missed and nothing else, and of
 * that only what it does not hold elsewhere. Meanwhile the cluster is changed without it.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import { ClusterRun } from "./cluster-run.ts";
import { NO_MIRROR, temporaryFolder } from "./harness.ts";
import { NbdClient } from "./nbd-client.ts";
import { randomBytes, RebuildWorld } from "./rebuild-world.ts";
import type { Traffic } from "./rebuild-world.ts";
import { destagedStats } from "./stats.ts";

const MIB = 1 << 20;
const VOLUME_MIB = 96;
/** What is written while a host is away. */
const MISSED_MIB = 16;
const CHUNK = 64 * 4096;

class World {
  readonly cluster: ClusterRun;
  readonly volumes: RebuildWorld;
  /** What the volume must hold. */
  readonly data: Buffer;
  #seed = 10;

  constructor(cluster: ClusterRun) {
    this.cluster = cluster;
    this.volumes = new RebuildWorld(cluster, 3);
    this.data = Buffer.alloc(VOLUME_MIB * MIB);
  }

  /** New contents, or those that the volume has elsewhere, at a place of the volume. */
  async write(atMib: number, bytes: Buffer): Promise<void> {
    const socket = path.join(this.cluster.folder, "v.sock");
    const client = await NbdClient.connect({ socket, exportName: "v" });
    for (let at = 0; at < bytes.length; at += CHUNK)
      await client.write(atMib * MIB + at, bytes.subarray(at, at + CHUNK));
    await client.flush();
    await client.close();
    bytes.copy(this.data, atMib * MIB);
  }

  fresh(mebibytes: number): Buffer {
    return randomBytes(this.#seed++, mebibytes * MIB);
  }

  async catchUp(): Promise<Traffic> {
    const stats = await this.cluster.cli<{ readonly catchUp: Traffic }>(1, ["stats"]);
    return stats.catchUp;
  }

  /** How much is sent to a host that was away, as a share of what was written. */
  async missed(
    away: string,
    work: () => Promise<void>,
    meanwhile: () => Promise<void> = async () => undefined,
  ): Promise<number> {
    const { cluster } = this;
    await cluster.dev("kill", away);
    await cluster.untilLost(1, away);
    await work();
    await meanwhile();
    const before = await this.catchUp();
    await cluster.dev("start", away);
    await this.volumes.untilWhole(["v", "demo"]);
    return ((await this.catchUp()).bytesSent - before.bytesSent) / (MISSED_MIB * MIB);
  }

  async componentsOn(host: string): Promise<number> {
    const { devices } = await this.cluster.cli<{
      readonly devices: readonly { readonly host: string; readonly componentCount: number }[];
    }>(1, ["device", "list"]);
    return devices.find((one) => one.host === host)?.componentCount ?? 0;
  }

  /** Without `away` nobody has anything left in its journal. */
  async destaged(away: string): Promise<void> {
    for (const host of [1, 2, 3])
      if (`h${host}` !== away) await destagedStats({ cli: (args) => this.cluster.cli(host, args) });
  }
}

test("a host that comes back is sent what it missed, and of that what it does not hold", async (t) => {
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"));
  t.after(() => cluster.kill());
  const world = new World(cluster);
  const { volumes } = world;
  const known = world.fresh(8);
  await volumes.create("gone", known.subarray(0, MIB), 1);
  await volumes.create("v", world.data, 1);
  await world.write(0, known);
  await volumes.destaged();
  const away = (await volumes.holders("v")).find((host) => host !== "h1");
  assert.ok(away !== undefined, "a copy is on another host");
  const others = ["h1", "h2", "h3"].filter((host) => host !== away);

  const missed = async (
    what: string,
    limit: number,
    work: () => Promise<void>,
    meanwhile?: () => Promise<void>,
  ): Promise<void> => {
    const share = await world.missed(away, work, meanwhile);
    t.diagnostic(`${what}: ${share.toFixed(3)} of what was written was sent`);
    assert.ok(share <= limit, `${what}: ${share} of what was written was sent`);
  };

  await missed(
    "distinct contents",
    1.05,
    () => world.write(16, world.fresh(MISSED_MIB)),
    async () => {
      // The cluster is changed while the host is away.
      await cluster.cli(1, ["volume", "detach", "gone"]);
      await cluster.cli(1, ["volume", "delete", "gone", "--yes"]);
      await cluster.cli(1, ["volume", "create", "late", "--size", "64M", ...NO_MIRROR]);
    },
  );
  const half = MISSED_MIB / 2;
  await missed("half of it known", 0.55, async () => {
    await world.write(40, known.subarray(0, half * MIB));
    await world.write(48, world.fresh(half));
  });
  // Logs of changes live as long as the process: with all of those that took part started again, it
  // is the logical maps that tell.
  await missed(
    "beyond the logs of changes",
    1.05,
    () => world.write(64, world.fresh(MISSED_MIB)),
    async () => {
      await world.destaged(away);
      for (const host of others) {
        await cluster.dev("kill", host);
        await cluster.dev("start", host);
      }
      await cluster.untilSeen(1, others.find((host) => host !== "h1") ?? "", "up");
    },
  );
  assert.ok(await volumes.holds("v", world.data), "it holds what was written");
  // What was deleted meanwhile is gone from the host that was away, too: demo, v and late are left.
  const left = await world.componentsOn(away);
  assert.ok(left <= 3, `${left} components are left`);
  await cluster.stop();
});
