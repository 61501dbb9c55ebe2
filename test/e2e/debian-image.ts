/**
 * A real Debian root file system in an ext4 image, and a second image of the same tree in which one
 * file in ten has other content: what two virtual machines of one template look like after a while.
 * Kept in .cache/debian; the first build takes half a minute and Debian's mirror.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { Prng } from "../../src/base/index.ts";
import { runTool } from "./process.ts";

export interface DebianImages {
  readonly base: string;
  readonly changed: string;
  readonly sizeBytes: number;
  readonly fileCount: number;
  readonly changedFileCount: number;
  readonly changedBytes: number;
  readonly allFileBytes: number;
}

interface ChangeCount {
  fileCount: number;
  changedFileCount: number;
  changedBytes: number;
  allFileBytes: number;
}

const SUITE = "bookworm";
const IMAGE_BYTES = 1280 << 20;
const CHANGED_ONE_IN = 10;
const BUILD_MS_MAX = 280_000;
const SEED = 1;
/** Fixed, so that both images differ in nothing but the files' content. */
const UUID = "6b1c1a5e-0f0d-4c57-9d5e-2d7f6d1f0a01";

const cacheFolder = fileURLToPath(new URL("../../../.cache/debian", import.meta.url));

/** The two images, built if they are not in the cache. */
export async function debianImages(): Promise<DebianImages> {
  const own = fs.readFileSync(fileURLToPath(import.meta.url));
  const folder = path.join(
    cacheFolder,
    createHash("sha256").update(own).digest("hex").slice(0, 16),
  );
  const manifest = path.join(folder, "images.json");
  if (!fs.existsSync(manifest)) await build(folder);
  return JSON.parse(fs.readFileSync(manifest, "utf8")) as DebianImages;
}

async function build(folder: string): Promise<void> {
  const work = `${folder}.${process.pid}`;
  const root = path.join(work, "root");
  fs.mkdirSync(work, { recursive: true });
  try {
    const timeoutMs = BUILD_MS_MAX;
    await runTool("mmdebstrap", ["--variant=minbase", "--quiet", SUITE, root], { timeoutMs });
    await makeImage(root, path.join(work, "base.img"));
    const count = changeFiles(root);
    await makeImage(root, path.join(work, "changed.img"));
    fs.rmSync(root, { recursive: true });
    const images: DebianImages = {
      base: path.join(folder, "base.img"),
      changed: path.join(folder, "changed.img"),
      sizeBytes: IMAGE_BYTES,
      ...count,
    };
    fs.writeFileSync(path.join(work, "images.json"), JSON.stringify(images, undefined, 2));
    fs.renameSync(work, folder);
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

async function makeImage(root: string, file: string): Promise<void> {
  const fixed = ["-U", UUID, "-E", `hash_seed=${UUID},lazy_itable_init=0,lazy_journal_init=0`];
  const args = ["-q", "-t", "ext4", "-b", "4096", ...fixed, "-d", root, file];
  await runTool("mke2fs", [...args, `${IMAGE_BYTES >> 20}M`], { timeoutMs: BUILD_MS_MAX });
}

/** Gives every tenth regular file other content of the same length. */
function changeFiles(root: string): ChangeCount {
  const prng = new Prng(SEED);
  const count = { fileCount: 0, changedFileCount: 0, changedBytes: 0, allFileBytes: 0 };
  for (const file of regularFiles(root)) {
    const stat = fs.lstatSync(file);
    count.fileCount++;
    count.allFileBytes += stat.size;
    if (count.fileCount % CHANGED_ONE_IN !== 0) continue;
    const data = new Uint8Array(stat.size);
    prng.fill(data);
    fs.writeFileSync(file, data);
    fs.utimesSync(file, stat.atime, stat.mtime);
    count.changedFileCount++;
    count.changedBytes += stat.size;
  }
  return count;
}

/**
 * All regular files below a folder in a fixed order; links are not followed, they may lead out of
 * it.
 */
function* regularFiles(folder: string): Generator<string> {
  const entries = fs.readdirSync(folder, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* regularFiles(name);
    else if (entry.isFile()) yield name;
  }
}
