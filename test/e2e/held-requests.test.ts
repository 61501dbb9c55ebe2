/**
 * Clients of a host that cannot serve their volume for a while: they see latency, and no errors.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { ClusterRun } from "./cluster-run.ts";
import { temporaryFolder } from "./harness.ts";
import { NbdClient, NbdConnectionLost } from "./nbd-client.ts";
import type { NbdAddress } from "./nbd-client.ts";

const BLOCK = 4096;
const WAIT_MS_MAX = 60_000;

interface Attached {
  readonly volumes: readonly {
    readonly name: string;
    readonly attachment?: { readonly host: string; readonly state: string };
  }[];
}

async function started(t: TestContext): Promise<ClusterRun> {
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"));
  t.after(() => cluster.kill());
  return cluster;
}

async function attach(cluster: ClusterRun, host: number, volume: string): Promise<NbdAddress> {
  const socket = path.join(cluster.folder, `${volume}-${host}.sock`);
  await cluster.cli(host, ["volume", "attach", volume, "--nbd", socket]);
  return { socket, exportName: volume };
}

/** Waits until the host says so of the volume's attachment. */
async function untilAttached(
  cluster: ClusterRun,
  host: number,
  volume: string,
  state: string,
): Promise<void> {
  const limit = performance.now() + WAIT_MS_MAX;
  for (;;) {
    const { volumes } = await cluster.cli<Attached>(host, ["volume", "list"]);
    const attachment = volumes.find(({ name }) => name === volume)?.attachment;
    if (attachment?.state === state) return;
    assert.ok(performance.now() < limit, `${volume} is ${JSON.stringify(attachment)}`);
  }
}

test("requests wait inside the host while too few copies are in reach", async (t) => {
  const cluster = await started(t);
  await cluster.cli(1, ["volume", "create", "v", "--size", "64M", "--failures-to-tolerate", "1"]);
  const client = await NbdClient.connect(await attach(cluster, 1, "v"));
  await client.write(0, Buffer.alloc(BLOCK, 1), true);
  await client.close();

  // h1 alone cannot take the volume again, and offers it all the same.
  await cluster.dev("kill", "h2");
  await cluster.dev("kill", "h3");
  await cluster.dev("kill", "h1");
  await cluster.dev("start", "h1");
  await untilAttached(cluster, 1, "v", "holding");
  const socket = path.join(cluster.folder, "v-1.sock");
  const patient = await NbdClient.connect({ socket, exportName: "v" });
  let isAnswered = false;
  const writing = patient.write(BLOCK, Buffer.alloc(BLOCK, 2), true);
  const reading = patient.read(0, BLOCK).finally(() => (isAnswered = true));
  await cluster.cli(1, ["status"]);
  assert.ok(!isAnswered, "nothing is answered without a majority");
  await cluster.dev("start", "h2");
  assert.deepEqual(await reading, Buffer.alloc(BLOCK, 1));
  await writing;
  await untilAttached(cluster, 1, "v", "online");
  assert.deepEqual(await patient.read(BLOCK, BLOCK), Buffer.alloc(BLOCK, 2));
  await patient.close();
});

test("what waits on a host is never written after the volume has moved to another one", async (t) => {
  const cluster = await started(t);
  await cluster.cli(1, ["volume", "create", "v", "--size", "64M", "--failures-to-tolerate", "1"]);
  const before = await NbdClient.connect(await attach(cluster, 1, "v"));
  await before.write(0, Buffer.alloc(BLOCK, 1), true);
  await cluster.dev("partition", "h1");
  // Once its lease has ended the host reads nothing, and holds what it is asked.
  const held = holdsFrom(before);
  const after = await movedTo(cluster, 2);
  await after.write(0, Buffer.alloc(BLOCK, 3), true);
  await cluster.dev("heal");
  await assert.rejects(held, NbdConnectionLost);
  assert.deepEqual(await after.read(0, BLOCK), Buffer.alloc(BLOCK, 3));
  await after.close();
});

/** Reads and writes one block in turn until the client is cut off, which it throws. */
async function holdsFrom(client: NbdClient): Promise<never> {
  for (;;) {
    await client.read(0, BLOCK);
    await client.write(0, Buffer.alloc(BLOCK, 2), true);
  }
}

/** Attaches the volume there as soon as the cluster allows it. */
async function movedTo(cluster: ClusterRun, host: number): Promise<NbdClient> {
  const limit = performance.now() + WAIT_MS_MAX;
  for (;;) {
    try {
      return await NbdClient.connect(await attach(cluster, host, "v"));
    } catch (error) {
      if (performance.now() > limit) throw error;
    }
  }
}
