/**
 * Eight volumes of two real Debian installations, some of their blocks changed; the disk of a host
 * is wiped. What is sent is held against what the disk really lacked, counted from the volumes'
 * bytes, and every byte is compared afterwards.
 *
 *   npm run bench -- debian-rebuild [--dir FOLDER]
 *
 * The installations come from Debian's mirror and are kept in .cache/debian-pair.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { programOptions } from "../scripts/program-options.ts";
import { Prng } from "../src/base/index.ts";
import { ClusterRun } from "../test/e2e/cluster-run.ts";
import { NbdClient } from "../test/e2e/nbd-client.ts";
import { runTool } from "../test/e2e/process.ts";
import { BLOCK, RebuildWorld } from "../test/e2e/rebuild-world.ts";

const IMAGE_MIB = 1024;
const VOLUMES = 8;
const READ_BYTES = 1 << 20;
const TOOL_MS_MAX = 600_000;
const REBUILD_MS_MAX = 900_000;
/** All volumes are used over this host, which owns them. */
const USER = "h1";
const VARIANTS: readonly (readonly string[])[] = [
  [],
  ["--include=openssh-server,python3-minimal,vim-tiny"],
];
const cache = fileURLToPath(new URL("../../.cache/debian-pair", import.meta.url));

export async function run(args: readonly string[]): Promise<void> {
  const { values } = programOptions("bench", import.meta.url, {
    args: [...args].filter((arg) => arg !== "debian-rebuild"),
    options: { dir: { type: "string" } },
  });
  const folder = fs.mkdtempSync(path.join(values.dir ?? os.tmpdir(), "debian-rebuild-"));
  const cluster = await ClusterRun.create(path.join(folder, "c"), ["--device-size", "8G"]);
  try {
    await wipeOne(cluster, folder);
  } finally {
    await cluster.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function wipeOne(cluster: ClusterRun, folder: string): Promise<void> {
  const world = new RebuildWorld(cluster, 3);
  const images = await debianPair();
  const names: string[] = [];
  for (let i = 0; i < VOLUMES; i++) {
    const name = `v${i}`;
    names.push(name);
    await fill(cluster, folder, name, images[i % images.length]!, i);
    say(`volume ${name} is written`);
  }
  await world.destaged();
  const held = await copiesOn(world, names);
  const [lost, lostNames] = [...held].toSorted(([, a], [, b]) => b.length - a.length)[0]!;
  const lacked = new Set<string>();
  let logicalBlocks = 0;
  let farBlocks = 0;
  for (const name of lostNames) {
    const blocks = addContents(path.join(folder, name), lacked);
    logicalBlocks += blocks;
    if (!(await world.holders(name)).includes(USER)) farBlocks += blocks;
  }
  const before = await world.rebuilt();
  const began = performance.now();
  await cluster.dev("kill", lost);
  fs.rmSync(path.join(cluster.folder, lost, "device"), { recursive: true });
  await cluster.dev("start", lost);
  await cluster.untilSeen(1, lost, "up");
  await untilWhole(world, names);
  const seconds = (performance.now() - began) / 1000;
  const after = await world.rebuilt();
  const sent = after.bytesSent - before.bytesSent;
  const lackedBytes = lacked.size * BLOCK;
  for (const name of names) {
    const uri = `nbd+unix:///${name}?socket=${path.join(cluster.folder, `${name}.sock`)}`;
    const files = ["-f", "raw", "-F", "raw", path.join(folder, name), uri];
    await runTool("qemu-img", ["compare", ...files], { timeoutMs: TOOL_MS_MAX });
  }
  say(
    `${lostNames.length} copies of ${mib(logicalBlocks * BLOCK)} MiB in all were lost on ${lost}`,
  );
  say(`the empty disk lacked ${lackedBytes} bytes of different contents (${mib(lackedBytes)} MiB)`);
  say(
    `sent were ${sent} (${(100 * (sent / lackedBytes - 1)).toFixed(3)} % more), in ${seconds.toFixed(1)} s`,
  );
  const metadata = after.metadataBytes - before.metadataBytes;
  const share = (bytes: number): string => `${((100 * metadata) / bytes).toFixed(3)} %`;
  const [data, far] = [logicalBlocks * BLOCK, farBlocks * BLOCK];
  const volumes = lostNames.length * (IMAGE_MIB << 20);
  say(
    `fingerprints took ${metadata} bytes: ${share(volumes)} of the volumes, ${share(data)} of data`,
  );
  say(
    `${mib(far)} MiB of data have no copy on ${USER}, which repairs: they and their ` +
      `fingerprints go there first; ${share(data + far)} of data for each way that is gone`,
  );
  say(`all ${VOLUMES} volumes are what they were, byte by byte`);
  if (Math.abs(sent - lackedBytes) > 0.02 * lackedBytes)
    throw new Error("what was sent is not within 2 % of what was lacking");
}

/** A volume with the image, and a file beside it that holds the same; some blocks are changed. */
async function fill(
  cluster: ClusterRun,
  folder: string,
  name: string,
  image: string,
  number: number,
): Promise<void> {
  const create = ["volume", "create", name, "--size", `${IMAGE_MIB}M`];
  await cluster.cli(1, [...create, "--failures-to-tolerate", "1"]);
  const socket = path.join(cluster.folder, `${name}.sock`);
  await cluster.cli(1, ["volume", "attach", name, "--nbd", socket]);
  const uri = `nbd+unix:///${name}?socket=${socket}`;
  await runTool("nbdcopy", [image, uri], { timeoutMs: TOOL_MS_MAX });
  const file = path.join(folder, name);
  await runTool("cp", ["--sparse=always", image, file], { timeoutMs: TOOL_MS_MAX });
  const prng = new Prng(number + 1);
  const client = await NbdClient.connect({ socket, exportName: name });
  const copy = fs.openSync(file, "r+");
  // None of the first two, then half a per cent of all blocks more in each.
  const changes = Math.floor((IMAGE_MIB * 256 * Math.max(0, number - 1)) / 200);
  for (let i = 0; i < changes; i++) {
    const at = prng.below(IMAGE_MIB * 256) * BLOCK;
    const bytes = Buffer.alloc(BLOCK);
    prng.fill(bytes);
    await client.write(at, bytes);
    fs.writeSync(copy, bytes, 0, BLOCK, at);
  }
  await client.flush();
  await client.close();
  fs.closeSync(copy);
}

/** Of the hosts that nobody speaks to: the volumes that have a copy there. */
async function copiesOn(
  world: RebuildWorld,
  names: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const held = new Map<string, string[]>([
    ["h2", []],
    ["h3", []],
  ]);
  for (const name of names)
    for (const host of await world.holders(name)) held.get(host)?.push(name);
  return held;
}

/** Fingerprints of a file's blocks that are not zero; returns how many those are. */
function addContents(file: string, into: Set<string>): number {
  const handle = fs.openSync(file, "r");
  const buffer = Buffer.alloc(READ_BYTES);
  const zeroes = Buffer.alloc(BLOCK);
  let blocks = 0;
  for (let at = 0; at < IMAGE_MIB << 20; at += READ_BYTES) {
    fs.readSync(handle, buffer, 0, READ_BYTES, at);
    for (let i = 0; i < READ_BYTES; i += BLOCK) {
      const block = buffer.subarray(i, i + BLOCK);
      if (block.equals(zeroes)) continue;
      blocks++;
      into.add(createHash("sha256").update(block).digest("base64"));
    }
  }
  fs.closeSync(handle);
  return blocks;
}

async function untilWhole(world: RebuildWorld, names: readonly string[]): Promise<void> {
  const deadline = performance.now() + REBUILD_MS_MAX;
  for (;;) {
    const shown = await Promise.all(names.map((name) => world.show(name)));
    const components = shown.flatMap((one) => one.components);
    const isRebuilt = components.every(({ state }) => state === "active");
    if (isRebuilt) return;
    if (performance.now() > deadline) throw new Error("it is not whole after a quarter of an hour");
    await pause(250);
  }
}

/** Root file systems of two installations, as ext4 images. */
async function debianPair(): Promise<readonly string[]> {
  fs.mkdirSync(cache, { recursive: true });
  const images: string[] = [];
  for (const [i, extra] of VARIANTS.entries()) {
    const image = path.join(cache, `${i}.img`);
    images.push(image);
    if (fs.existsSync(image)) continue;
    const root = path.join(cache, `${i}.root`);
    fs.rmSync(root, { recursive: true, force: true });
    const options = ["--variant=minbase", "--quiet", ...extra, "bookworm", root];
    await runTool("mmdebstrap", options, { timeoutMs: TOOL_MS_MAX });
    const unfinished = `${image}.unfinished`;
    const format = ["-q", "-t", "ext4", "-b", "4096", "-d", root, unfinished, `${IMAGE_MIB}M`];
    await runTool("mke2fs", format, { timeoutMs: TOOL_MS_MAX });
    fs.renameSync(unfinished, image);
    fs.rmSync(root, { recursive: true });
    say(`installation ${i} is made`);
  }
  return images;
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
