/**
 * Builds the test guest: a Linux kernel and an initramfs made of Debian's own packages, which boot
 * under QEMU's software emulation in a few seconds with a volume as /dev/vda. What it runs is in
 * guest-init.ts.
 *
 *   node dist/scripts/guest.js [--json] [--refresh]     prints where kernel and initramfs are
 *
 * The result is kept in .cache/guest, one folder for each recipe (these scripts and the packages'
 * versions). While neither the scripts nor apt's package lists changed, a second run asks nobody
 * and is instant.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { cpioArchive, cpioCharacterDevice, cpioFile, cpioFolder, cpioLink } from "./cpio.ts";
import type { CpioEntry } from "./cpio.ts";
import { bootSectors } from "./guest-boot.ts";
import { GUEST_INIT } from "./guest-init.ts";

export interface GuestImage {
  readonly kernel: string;
  readonly initramfs: string;
  /** The beginning of a disk that boots them from its first partition: see guest-boot.ts. */
  readonly bootSectors: string;
  /** Package name and version of everything inside. */
  readonly packages: Readonly<Record<string, string>>;
}

interface CurrentImage {
  readonly recipe: string;
  readonly aptListsChangedMs: number;
  readonly folder: string;
}

const KERNEL_META_PACKAGE = "linux-image-cloud-amd64";
const USER_PACKAGES = [
  "busybox-static",
  "e2fsprogs",
  "libblkid1",
  "libc6",
  "libcom-err2",
  "libext2fs2",
  "libuuid1",
] as const;
/** For the boot disk: GRUB, and the libraries of the program that puts it together. */
const BOOT_PACKAGES = [
  "grub-common",
  "grub-pc-bin",
  "libdevmapper1.02.1",
  "liblzma5",
  "libpcre2-8-0",
  "libselinux1",
  "libudev1",
] as const;
const PROGRAMS = ["sbin/mke2fs", "sbin/e2fsck"] as const;
const MODULES = ["virtio_pci", "virtio_blk", "virtio_net", "ext4"] as const;
const LOADER = "lib64/ld-linux-x86-64.so.2";
const LIBRARY_FOLDERS = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"] as const;

const here = path.dirname(fileURLToPath(import.meta.url));
const repository = path.resolve(here, "../..");
const cacheFolder = path.join(repository, ".cache/guest");
const aptLists = "/var/lib/apt/lists";

/**
 * The guest, built if it is not there yet. `refresh` asks apt even if nothing seems to have
 * changed.
 */
export function guestImage(refresh = false): GuestImage {
  const recipe = recipeHash();
  const current = readJson<CurrentImage>(path.join(cacheFolder, "current.json"));
  const listsChangedMs = fs.statSync(aptLists).mtimeMs;
  if (!refresh && current?.recipe === recipe && current.aptListsChangedMs === listsChangedMs) {
    const image = readImage(current.folder);
    if (image !== undefined) return image;
  }
  const packages = packageVersions();
  const name = createHash("sha256").update(recipe).update(JSON.stringify(packages)).digest("hex");
  const folder = path.join(cacheFolder, name.slice(0, 16));
  const image = readImage(folder) ?? build(folder, packages);
  const now: CurrentImage = { recipe, aptListsChangedMs: listsChangedMs, folder };
  writeAtomically(path.join(cacheFolder, "current.json"), Buffer.from(JSON.stringify(now)));
  return image;
}

function recipeHash(): string {
  const hash = createHash("sha256");
  for (const name of ["guest.js", "guest-boot.js", "guest-init.js", "cpio.js"]) {
    hash.update(fs.readFileSync(path.join(here, name)));
  }
  return hash.digest("hex");
}

function readJson<T>(file: string): T | undefined {
  if (!fs.existsSync(file)) return undefined;
  return JSON.parse(fs.readFileSync(file, "utf8")) as T;
}

function readImage(folder: string): GuestImage | undefined {
  return readJson<GuestImage>(path.join(folder, "image.json"));
}

/** Name and candidate version of each package, as apt would install them now. */
function packageVersions(): Record<string, string> {
  if (run("apt-cache", ["pkgnames", KERNEL_META_PACKAGE]) === "") run("apt-get", ["-qq", "update"]);
  const depends = run("apt-cache", ["depends", "--important", KERNEL_META_PACKAGE]);
  const kernel = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (kernel === undefined) {
    throw new Error(
      `apt knows no ${KERNEL_META_PACKAGE}; run "apt-get update" as root, then again`,
    );
  }
  const versions: Record<string, string> = {};
  const shown = run("apt-cache", [
    ...["show", "--no-all-versions", kernel, ...USER_PACKAGES, ...BOOT_PACKAGES],
  ]);
  for (const paragraph of shown.split("\n\n")) {
    const name = /^Package: (.+)$/m.exec(paragraph)?.[1];
    const version = /^Version: (.+)$/m.exec(paragraph)?.[1];
    if (name !== undefined && version !== undefined) versions[name] = version;
  }
  for (const name of [kernel, ...USER_PACKAGES, ...BOOT_PACKAGES]) {
    if (versions[name] === undefined) throw new Error(`apt has no candidate for ${name}`);
  }
  return versions;
}

function build(folder: string, packages: Record<string, string>): GuestImage {
  const work = `${folder}.${process.pid}`;
  const root = path.join(work, "root");
  fs.mkdirSync(root, { recursive: true });
  try {
    console.error("building the test guest from Debian packages");
    const wanted = Object.entries(packages).map(([name, version]) => `${name}=${version}`);
    // Its own user may not enter this folder, and apt says so each time.
    const asRoot = process.getuid?.() === 0 ? ["-o", "APT::Sandbox::User=root"] : [];
    run("apt-get", ["-qq", ...asRoot, "download", ...wanted], work);
    for (const file of fs.readdirSync(work).filter((name) => name.endsWith(".deb"))) {
      run("dpkg", ["-x", path.join(work, file), root]);
      fs.rmSync(path.join(work, file));
    }
    const kernel = fs
      .readdirSync(path.join(root, "boot"))
      .find((name) => name.startsWith("vmlinuz-"));
    if (kernel === undefined) throw new Error("the kernel package holds no boot/vmlinuz-*");
    fs.copyFileSync(path.join(root, "boot", kernel), path.join(work, "kernel"));
    fs.writeFileSync(path.join(work, "initramfs"), cpioArchive(initramfsEntries(root)));
    fs.writeFileSync(path.join(work, "boot-sectors"), bootSectors(root, work));
    fs.rmSync(root, { recursive: true });
    const image: GuestImage = {
      kernel: path.join(folder, "kernel"),
      initramfs: path.join(folder, "initramfs"),
      bootSectors: path.join(folder, "boot-sectors"),
      packages,
    };
    fs.writeFileSync(path.join(work, "image.json"), JSON.stringify(image, undefined, 2));
    publish(work, folder);
    return image;
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

/** Puts the finished folder in its place; of two builders at once the first one wins. */
function publish(work: string, folder: string): void {
  try {
    fs.renameSync(work, folder);
  } catch (error) {
    if (readImage(folder) === undefined) throw error;
  }
}

function initramfsEntries(root: string): CpioEntry[] {
  const folders = ["bin", "dev", "e2fsprogs", "lib", "lib64", "modules", "sbin"].map(cpioFolder);
  const init = cpioFile("init", Buffer.from(GUEST_INIT));
  return [...folders, ...deviceEntries(), init, ...programEntries(root), ...moduleEntries(root)];
}

/** The kernel opens /dev/console for process 1 before anything could mount a /dev. */
function deviceEntries(): CpioEntry[] {
  return [cpioCharacterDevice("dev/console", 5, 1), cpioCharacterDevice("dev/null", 1, 3)];
}

function programEntries(root: string): CpioEntry[] {
  const read = (name: string): Buffer => fs.readFileSync(path.join(root, name));
  const busybox = ["bin/busybox", "usr/bin/busybox"].find((name) =>
    fs.existsSync(path.join(root, name)),
  );
  if (busybox === undefined) throw new Error("busybox-static holds no busybox");
  const entries = [cpioFile("bin/busybox", read(busybox)), cpioFile(LOADER, read(LOADER))];
  // Busybox has small programs of the same names: these live in a folder of their own.
  for (const program of PROGRAMS) {
    entries.push(cpioFile(`e2fsprogs/${path.basename(program)}`, read(program)));
  }
  for (const [name, file] of sharedLibraries(root)) {
    entries.push(cpioFile(`lib/${name}`, fs.readFileSync(file)));
  }
  entries.push(cpioLink("bin/sh", "busybox"));
  return entries;
}

/** Every shared library of the programs, asked from the package's own loader. */
function sharedLibraries(root: string): Map<string, string> {
  const searched = LIBRARY_FOLDERS.map((name) => path.join(root, name));
  const libraries = new Map<string, string>();
  for (const program of PROGRAMS) {
    const listed = run(path.join(root, LOADER), [
      "--library-path",
      searched.join(":"),
      "--list",
      path.join(root, program),
    ]);
    for (const match of listed.matchAll(/^\s*(\S+) => (\S+)/gm)) {
      const [, name, file] = match;
      if (name === undefined || file === undefined || !file.startsWith(root)) {
        throw new Error(`${program} needs ${name ?? "a library"}, which no listed package holds`);
      }
      if (path.basename(name) !== path.basename(LOADER)) libraries.set(name, fs.realpathSync(file));
    }
  }
  return libraries;
}

/** The wanted modules after everything they depend on, and the order in which to load them. */
function moduleEntries(root: string): CpioEntry[] {
  const modules = path.join(root, "lib/modules");
  const version = fs.readdirSync(modules)[0];
  if (version === undefined) throw new Error("the kernel package holds no modules");
  const files = modulesByName(path.join(modules, version));
  const order: string[] = [];
  const entries: CpioEntry[] = [];
  const add = (name: string): void => {
    if (order.includes(name)) return;
    const file = files.get(name);
    if (file === undefined) return; // Built into this kernel; one that is missing shows at boot.
    const bytes = fs.readFileSync(file);
    for (const needed of moduleDependencies(bytes)) add(needed);
    order.push(name);
    entries.push(cpioFile(`modules/${name}`, bytes, 0o644));
  };
  for (const name of MODULES) add(name);
  entries.push(cpioFile("modules/order", Buffer.from(order.join("\n")), 0o644));
  return entries;
}

function modulesByName(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of fs.readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!entry.endsWith(".ko")) continue;
    files.set(path.basename(entry, ".ko").replaceAll("-", "_"), path.join(folder, entry));
  }
  return files;
}

/** A module says what it needs in its .modinfo section: `depends=a,b` between zero bytes. */
function moduleDependencies(bytes: Buffer): string[] {
  const start = bytes.indexOf("\0depends=");
  if (start < 0) return [];
  const end = bytes.indexOf(0, start + 1);
  const names = bytes.toString("latin1", start + "\0depends=".length, end);
  return names.split(",").filter((name) => name !== "");
}

function writeAtomically(file: string, bytes: Uint8Array): void {
  const temporary = `${file}.${process.pid}`;
  fs.writeFileSync(temporary, bytes);
  fs.renameSync(temporary, file);
}

function run(program: string, args: readonly string[], folder?: string): string {
  return execFileSync(program, [...args], {
    cwd: folder,
    encoding: "utf8",
    maxBuffer: 64 << 20,
    stdio: ["ignore", "pipe", "inherit"],
  });
}

function main(): void {
  const words = process.argv.slice(2);
  const unknown = words.find((word) => word !== "--json" && word !== "--refresh");
  if (unknown !== undefined) throw new Error(`unknown argument ${unknown}; try --json, --refresh`);
  const image = guestImage(words.includes("--refresh"));
  if (words.includes("--json")) console.log(JSON.stringify(image));
  else console.log(`kernel     ${image.kernel}\ninitramfs  ${image.initramfs}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
