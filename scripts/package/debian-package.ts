/**
 * The Debian package: what npm would install for production, with the service, users, manual pages
 * and completions around it. `dpkg-deb` packs it.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { version } from "../../src/host/index.ts";
import { REPOSITORY } from "../repository.ts";
import { bashCompletion, fishCompletion, zshCompletion } from "./completions.ts";
import { commandManual, configManual } from "./man-pages.ts";

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };
const LIBRARY = "usr/lib/drystone";
const DOCUMENTS = "usr/share/doc/drystone";
const NODE_MIN = "20.19";

interface LockedPackage {
  readonly dev?: boolean;
  readonly devOptional?: boolean;
}

/** Builds it in `folder`, and returns the package's path. */
export function buildDebianPackage(folder: string): string {
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) throw new Error(`there is no Debian name for ${process.arch}`);
  const root = join(folder, "root");
  rmSync(root, { recursive: true, force: true });
  copyProgram(root);
  copyService(root);
  writeDocuments(root);
  writeControl(root, architecture);
  const target = join(folder, `drystone_${version}_${architecture}.deb`);
  execFileSync("dpkg-deb", ["--root-owner-group", "-Zxz", "-z2", "--build", root, target], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  rmSync(root, { recursive: true });
  return target;
}

function put(root: string, path: string, content: string | Uint8Array, mode = 0o644): void {
  const target = join(root, path);
  mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
  writeFileSync(target, content);
  chmodSync(target, mode);
}

function copyProgram(root: string): void {
  const library = join(root, LIBRARY);
  mkdirSync(library, { recursive: true });
  for (const part of ["dist/run", "dist/web"]) {
    cpSync(join(REPOSITORY, part), join(library, part), { recursive: true });
  }
  for (const path of productionPackages()) {
    cpSync(join(REPOSITORY, path), join(library, path), { recursive: true, dereference: true });
  }
  const manifest = JSON.parse(readFileSync(join(REPOSITORY, "package.json"), "utf8")) as object;
  const shipped = { ...manifest, devDependencies: undefined, scripts: undefined };
  put(root, `${LIBRARY}/package.json`, `${JSON.stringify(shipped, undefined, 2)}\n`);
  for (const name of ["drystone", "entry.mjs"])
    put(root, `${LIBRARY}/bin/${name}`, readFileSync(join(REPOSITORY, "bin", name)), 0o755);
  mkdirSync(join(root, "usr/bin"), { recursive: true });
  symlinkSync("../lib/drystone/bin/drystone", join(root, "usr/bin/drystone"));
}

/** Folders of node_modules that are not for development alone and are there. */
function productionPackages(): readonly string[] {
  const text = readFileSync(join(REPOSITORY, "node_modules/.package-lock.json"), "utf8");
  const { packages } = JSON.parse(text) as {
    readonly packages: Readonly<Record<string, LockedPackage>>;
  };
  return Object.entries(packages)
    .filter(([, { dev, devOptional }]) => dev !== true && devOptional !== true)
    .map(([path]) => path)
    .filter((path) => path !== "" && existsSync(join(REPOSITORY, path)));
}

function copyService(root: string): void {
  const own = (name: string): Buffer => readFileSync(join(REPOSITORY, "packages/debian", name));
  put(root, "usr/lib/systemd/system/drystone.service", own("drystone.service"));
  put(root, "usr/lib/sysusers.d/drystone.conf", own("sysusers.conf"));
  for (const script of ["postinst", "prerm", "postrm"])
    put(root, `DEBIAN/${script}`, own(script), 0o755);
}

function writeDocuments(root: string): void {
  const zipped = (text: string): Uint8Array => gzipSync(text, { level: 9 });
  put(root, "usr/share/man/man1/drystone.1.gz", zipped(commandManual()));
  put(root, "usr/share/man/man5/drystone-host.json.5.gz", zipped(configManual()));
  put(root, "usr/share/bash-completion/completions/drystone", bashCompletion());
  put(root, "usr/share/zsh/vendor-completions/_drystone", zshCompletion());
  put(root, "usr/share/fish/vendor_completions.d/drystone.fish", fishCompletion());
  const license = readFileSync(join(REPOSITORY, "LICENSE"), "utf8");
  put(root, `${DOCUMENTS}/copyright`, license);
  const changes = readFileSync(join(REPOSITORY, "CHANGELOG.md"), "utf8");
  put(root, `${DOCUMENTS}/changelog.gz`, zipped(changes));
  for (const name of ["drystone-alerts.yml", "drystone-grafana.json"]) {
    const path = join(REPOSITORY, "packages/monitoring", name);
    put(root, `${DOCUMENTS}/monitoring/${name}`, readFileSync(path));
  }
}

function writeControl(root: string, architecture: string): void {
  const entries = readdirSync(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = files.map(({ parentPath, name }) => statSync(join(parentPath, name)).size);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const fields = [
    ["Package", "drystone"],
    ["Version", version],
    ["Architecture", architecture],
    ["Maintainer", "Drystone <drystone@localhost>"],
    ["Installed-Size", String(Math.ceil(bytes / 1024))],
    ["Depends", `nodejs (>= ${NODE_MIN}), systemd, libc6 (>= 2.36)`],
    ["Suggests", "etcd-server, qemu-system-x86, qemu-utils, libnbd-bin, jq"],
    ["Section", "admin"],
    ["Priority", "optional"],
    ["Description", "object store for the disks of virtual machines"],
  ];
  const control = fields.map(([name, value]) => `${name}: ${value}\n`).join("");
  const description = [
    " Joins the disks of ordinary hosts into one mirrored, deduplicated and checksummed store for the",
    " disks of virtual machines, and starts machines elsewhere when their host has failed.",
    "",
  ].join("\n");
  put(root, "DEBIAN/control", `${control}${description}`);
}
