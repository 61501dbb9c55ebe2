/**
 * A mirrored volume with 255 snapshots on real hosts, which are deleted in any order while clients
 * write: in the end they use the space that fresh copies of the volume use.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Prng } from "../../src/base/index.ts";
import { ClusterRun } from "./cluster-run.ts";
import { startHost, temporaryFolder } from "./harness.ts";
import { NbdClient } from "./nbd-client.ts";
import { BLOCK, randomBytes, RebuildWorld } from "./rebuild-world.ts";
import { destagedStats } from "./stats.ts";
import type { Stats } from "./stats.ts";

const SNAPSHOTS = 255;
const SIZE_BYTES = 8 << 20;
const RECLAIM_MS_MAX = 60_000;
const POLL_MS = 250;

async function ask(cluster: ClusterRun, method: "POST" | "DELETE", name: string): Promise<void> {
  const response = await fetch(`${cluster.api(1)}/v1/snapshots/${encodeURIComponent(name)}`, {
    method,
    headers: { "content-type": "application/json" },
    ...(method === "POST" ? { body: "{}" } : {}),
  });
  assert.ok(response.ok, `${method} ${name}: ${await response.text()}`);
}

/** Writes blocks one after the other, and remembers what the volume holds. */
class Writer {
  readonly data: Buffer;
  readonly #client: NbdClient;
  readonly #prng = new Prng(5);
  readonly #running: Promise<void>;
  #isStopping = false;
  writes = 0;

  constructor(client: NbdClient, data: Buffer) {
    this.#client = client;
    this.data = data;
    this.#running = this.#run();
    this.#running.catch(() => undefined); // `stop` throws it.
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      const at = this.#prng.below(this.data.length / BLOCK) * BLOCK;
      const block = this.data.subarray(at, at + BLOCK);
      this.#prng.fill(block);
      await this.#client.write(at, block);
      this.writes++;
    }
  }

  /** Until so many more blocks were written. */
  async progress(writes: number): Promise<void> {
    const wanted = this.writes + writes;
    while (this.writes < wanted) await Promise.race([pause(1), this.#running]);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
    await this.#client.flush();
    await this.#client.close();
  }
}

/** Of all hosts together: blocks that hold something. */
async function spaceOf(cluster: ClusterRun): Promise<number> {
  return (await cluster.cli<Stats>(1, ["stats"])).uniqueBytes;
}

/** What a host uses for a volume that never held anything else. */
async function freshSpace(t: Parameters<typeof startHost>[0], data: Buffer): Promise<number> {
  const host = await startHost(t, "1G");
  const client = await NbdClient.connect(await host.volume("fresh", data.length));
  for (let at = 0; at < data.length; at += 64 * BLOCK)
    await client.write(at, data.subarray(at, at + 64 * BLOCK));
  await client.flush();
  await client.close();
  return (await destagedStats(host)).uniqueBytes;
}

test("255 snapshots, deleted in any order under load, give all of their space back", async (t) => {
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"));
  t.after(() => cluster.kill());
  const world = new RebuildWorld(cluster, 3);
  const data = randomBytes(11, SIZE_BYTES);
  await world.create("web", data, 1);
  const holders = await world.holders("web");
  const socket = path.join(cluster.folder, "web.sock");
  const writer = new Writer(await NbdClient.connect({ socket, exportName: "web" }), data);
  const names = Array.from({ length: SNAPSHOTS }, (_none, i) => `web@s${i}`);
  for (const name of names) {
    await writer.progress(4);
    await ask(cluster, "POST", name);
  }
  const full = await spaceOf(cluster);
  const prng = new Prng(9);
  const remover = async (): Promise<void> => {
    while (names.length > 0) {
      const [name] = names.splice(prng.below(names.length), 1);
      await ask(cluster, "DELETE", name!);
      await writer.progress(1);
    }
  };
  await Promise.all([remover(), remover(), remover(), remover()]);
  await writer.stop();
  assert.ok(await world.holds("web", data), "it holds what was written");
  await world.destaged();
  const fresh = holders.length * (await freshSpace(t, data));
  assert.ok(full > 1.1 * fresh, "snapshots had contents of their own");
  const deadline = performance.now() + RECLAIM_MS_MAX;
  let used = await spaceOf(cluster);
  while (used > 1.01 * fresh && performance.now() < deadline) {
    await pause(POLL_MS);
    used = await spaceOf(cluster);
  }
  const told = `${full} bytes with all snapshots, ${used} in the end, ${fresh} for fresh copies`;
  t.diagnostic(`${writer.writes} writes; ${told}`);
  assert.ok(Math.abs(used - fresh) <= 0.01 * fresh, told);
});
