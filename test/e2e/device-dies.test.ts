/**
 * A disk that dies under a host that runs: its file system fails every request from one moment on.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { ClusterRun } from "./cluster-run.ts";
import { temporaryFolder } from "./harness.ts";
import { PacedLoad } from "./paced-load.ts";
import { runTool } from "./process.ts";
import { randomBytes, RebuildWorld } from "./rebuild-world.ts";

const isRoot = process.getuid?.() === 0;
const VOLUME_BYTES = 8 << 20;
const LANES = 4;
/** Ends a file system as a disk that is pulled does: what was not written is lost, all else EIO. */
const SHUT_DOWN = `
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))
`;

interface Status {
  readonly reasons: readonly { readonly code: string; readonly message: string }[];
}

/** A file system on a disk of its own; returns how to have the disk die. */
async function mountDisk(folder: string, at: string): Promise<() => Promise<void>> {
  const image = path.join(folder, "disk.img");
  fs.writeFileSync(image, "");
  fs.truncateSync(image, 3 * 2 ** 30);
  fs.mkdirSync(at, { recursive: true });
  await runTool("mkfs.ext4", ["-q", "-E", "lazy_itable_init=1,nodiscard", image]);
  await runTool("mount", ["-o", "loop", image, at]);
  return async () => void (await runTool("python3", ["-c", SHUT_DOWN, at]));
}

test(
  "a disk that dies under its host is not waited for: what it held is made anew elsewhere at once",
  { skip: !isRoot },
  async (t) => {
    const ends: (() => Promise<unknown>)[] = [];
    // Before the folder is deleted, whose own hook comes next.
    t.after(async () => {
      for (const end of ends.toReversed()) await end();
    });
    const folder = temporaryFolder(t);
    const clusterFolder = path.join(folder, "c");
    const mounted = path.join(clusterFolder, "h2", "device");
    const die = await mountDisk(folder, mounted);
    // The kernel closes files of killed processes late.
    ends.push(() => runTool("umount", ["--lazy", mounted]));
    const cluster = await ClusterRun.create(clusterFolder, ["--hosts", "4"]);
    ends.push(() => cluster.kill());
    const world = new RebuildWorld(cluster, 4);
    const names: string[] = [];
    const data = randomBytes(1, VOLUME_BYTES);
    // Until one of them has a copy there.
    do {
      names.push(`v${names.length}`);
      await world.create(names.at(-1)!, data, 1);
    } while (!(await world.holders(names.at(-1)!)).includes("h2"));
    const name = names.at(-1)!;
    const socket = path.join(clusterFolder, `${name}.sock`);
    const load = await PacedLoad.start({ socket, exportName: name }, LANES);
    await load.progress(100);
    load.takeStallMs();
    await die();
    const beginMs = performance.now();
    await world.untilWhole([...names, "demo"], "h2");
    const seconds = (performance.now() - beginMs) / 1000;
    const stallMs = load.takeStallMs();
    t.diagnostic(`whole after ${seconds.toFixed(1)} s, longest wait ${stallMs.toFixed(0)} ms`);
    await load.stop();
    await load.verify({ socket, exportName: name });
    const { reasons } = await cluster.cli<Status>(1, ["status"]);
    const told = reasons.find(({ code }) => code === "device-failed");
    assert.match(told?.message ?? "nothing", new RegExp(`${mounted} on h2`));
  },
);
