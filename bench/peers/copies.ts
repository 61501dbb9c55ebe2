/**
 * One of two copies of a disk is given up and made anew on another device, by each system in its
 * own way, with nobody using the disk: what crosses the network and how long it takes, from the
 * command that asks for it until it is seen to be whole.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { ClusterRun } from "../../test/e2e/cluster-run.ts";
import { fio } from "../../test/e2e/fio.ts";
import { NbdClient } from "../../test/e2e/nbd-client.ts";
import { processUsage } from "../../test/e2e/process.ts";
import { BLOCK, randomBytes, RebuildWorld } from "../../test/e2e/rebuild-world.ts";
import { CephCluster } from "../ceph.ts";
import { GlusterCluster } from "./gluster.ts";

export interface Copied {
  readonly wireMib: number;
  readonly seconds: number;
  /** Of all processes of the system. */
  readonly cpuSeconds: number;
}

const HOSTS = 4;
/** The one whose commands are used. */
const ASKED = "h1";
const CHUNK_BYTES = 64 * BLOCK;
const WRITES_UNDER_WAY = 8;
const FILL_MS_MAX = 1_800_000;
const COPY_MS_MAX = 1_800_000;

/** As fast as it goes: what holds recovery back in favour of clients is off. */
const CEPH_SETTINGS = {
  osd_recovery_sleep: 0,
  osd_max_backfills: 8,
  osd_recovery_max_active: 16,
  // Three of them share this machine with the disks, which are in memory.
  osd_memory_target: 2 ** 30,
};

const CEPH_HOLDS = ["nobackfill", "norecover"] as const;

export async function copyOurs(folder: string, sizeBytes: number, share: number): Promise<Copied> {
  const device = ["--device-size", String(3 * sizeBytes + 2 ** 30)];
  const cluster = await ClusterRun.create(path.join(folder, "c"), [
    ...["--hosts", String(HOSTS)],
    ...device,
  ]);
  try {
    const world = new RebuildWorld(cluster, HOSTS);
    const knownBytes = Math.round((share * sizeBytes) / CHUNK_BYTES) * CHUNK_BYTES;
    await write(world, "known", { sizeBytes, writtenBytes: knownBytes, failuresToTolerate: 0 });
    const [home] = await world.holders("known");
    // The mirror takes the other three, so that there is one place to go to.
    await cluster.cli(1, ["host", "maintenance", "on", home!, "--mode", "none"]);
    const everything = { sizeBytes, writtenBytes: sizeBytes, failuresToTolerate: 1 };
    await write(world, "mirror", everything);
    await cluster.cli(1, ["host", "maintenance", "off", home!]);
    await world.destaged();
    // Attached at the host that is asked, and idle: the others' disks are open all the time, too.
    const leaving = (await world.holders("mirror")).find((host) => host !== ASKED);
    return await timed(
      () => cluster.pids,
      async () => {
        await cluster.cli(1, ["host", "maintenance", "on", leaving!, "--mode", "evacuate"]);
        await world.untilWhole(["mirror"], leaving, COPY_MS_MAX);
      },
    );
  } finally {
    await cluster.kill();
    fs.rmSync(path.join(folder, "c"), { recursive: true, force: true });
  }
}

export async function copyCeph(folder: string, sizeBytes: number): Promise<Copied> {
  const place = path.join(folder, "ceph");
  const osdBytes = 2 * sizeBytes + 4 * 2 ** 30;
  const options = { imageBytes: sizeBytes, osdBytes, settings: CEPH_SETTINGS };
  const ceph = await CephCluster.create(place, options);
  try {
    await ceph.command(["osd", "out", "2"]);
    await ceph.untilClean();
    await fillPeer(ceph.client, ceph.environment, sizeBytes);
    await ceph.untilClean();
    // Both changes at once: otherwise it would begin with the first. What its log covers it
    // calls recovery, the rest backfill.
    for (const flag of CEPH_HOLDS) await ceph.command(["osd", "set", flag]);
    await ceph.command(["osd", "out", "1"]);
    await ceph.command(["osd", "in", "2"]);
    await ceph.untilUnclean();
    const copied = await timed(
      () => [...ceph.processes.values()].flat(),
      async () => {
        for (const flag of CEPH_HOLDS) await ceph.command(["osd", "unset", flag]);
        await ceph.untilClean(COPY_MS_MAX);
      },
    );
    return whole(copied, sizeBytes);
  } finally {
    await ceph.kill();
    fs.rmSync(place, { recursive: true, force: true });
  }
}

export async function copyGluster(folder: string, sizeBytes: number): Promise<Copied> {
  const place = path.join(folder, "gluster");
  const gluster = await GlusterCluster.create(place);
  try {
    await fillPeer(gluster.client(false), process.env, sizeBytes);
    const copied = await timed(
      () => [...gluster.processes.values()].flat(),
      async () => {
        await gluster.replaceBrick();
        await gluster.untilHealed();
      },
    );
    // Its healer is a process between the two copies: over the interface everything goes twice.
    const wireMib = (await gluster.bytesOfNewBrick()) / 2 ** 20;
    return whole({ ...copied, wireMib }, sizeBytes);
  } finally {
    await gluster.kill();
    fs.rmSync(place, { recursive: true, force: true });
  }
}

/** Who has moved less than there is has not made a copy, whatever it says. */
function whole(copied: Copied, sizeBytes: number): Copied {
  if (copied.wireMib * 2 ** 20 >= sizeBytes) return copied;
  throw new Error(`only ${copied.wireMib.toFixed(1)} MiB were moved: this was no whole copy`);
}

/** The interface is the enclosure's own: nobody else uses it. */
async function timed(
  processes: () => readonly number[],
  work: () => Promise<void>,
): Promise<Copied> {
  const wireBefore = loopbackBytes();
  const cpuBefore = new Map(processes().map((pid) => [pid, processUsage(pid).cpuSeconds]));
  const began = performance.now();
  await work();
  const seconds = (performance.now() - began) / 1000;
  const wireMib = (loopbackBytes() - wireBefore) / 2 ** 20;
  // What has started meanwhile counts whole; what has ended, as a brick that was replaced, not.
  const used = processes().map((pid) => processUsage(pid).cpuSeconds - (cpuBefore.get(pid) ?? 0));
  return { seconds, wireMib, cpuSeconds: used.reduce((total, one) => total + one, 0) };
}

function loopbackBytes(): number {
  const received = /^\s*lo:\s*(\d+)/m.exec(fs.readFileSync("/proc/net/dev", "utf8"))?.[1];
  if (received === undefined) throw new Error("there is no loopback interface");
  return Number(received);
}

/** No two blocks alike, and the same ones in each volume. */
async function write(
  { cluster }: RebuildWorld,
  name: string,
  wanted: {
    readonly sizeBytes: number;
    readonly writtenBytes: number;
    readonly failuresToTolerate: number;
  },
): Promise<void> {
  const create = ["volume", "create", name, "--size", String(wanted.sizeBytes)];
  const tolerance = ["--failures-to-tolerate", String(wanted.failuresToTolerate)];
  await cluster.cli(1, [...create, ...tolerance]);
  const socket = path.join(cluster.folder, `${name}.sock`);
  await cluster.cli(1, ["volume", "attach", name, "--nbd", socket]);
  const client = await NbdClient.connect({ socket, exportName: name });
  const sample = randomBytes(1, CHUNK_BYTES);
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < wanted.writtenBytes) {
      const at = next;
      next += CHUNK_BYTES;
      const chunk = Buffer.from(sample);
      for (let block = 0; block < CHUNK_BYTES; block += BLOCK)
        chunk.writeDoubleLE(at + block, block);
      await client.write(at, chunk);
    }
  };
  await Promise.all(Array.from({ length: WRITES_UNDER_WAY }, lane));
  await client.flush();
  await client.close();
}

async function fillPeer(
  client: readonly string[],
  env: NodeJS.ProcessEnv,
  sizeBytes: number,
): Promise<void> {
  const work = ["--rw=write", "--bs=1M", "--iodepth=8", "--refill_buffers", `--size=${sizeBytes}`];
  await fio({ uri: { args: client, env }, args: work, timeoutMs: FILL_MS_MAX });
}
