/** The peers, what each needs, and how to get it. */
import * as fs from "node:fs";
import * as path from "node:path";
import { REPOSITORY } from "../../scripts/repository.ts";

interface Peer {
  readonly name: string;
  readonly commands: readonly string[];
}

export const PEERS: readonly Peer[] = [
  { name: "qemu-nbd", commands: ["qemu-nbd"] },
  { name: "qemu-storage-daemon", commands: ["qemu-storage-daemon"] },
  { name: "nbdkit", commands: ["nbdkit"] },
  { name: "ceph", commands: ["ceph-mon", "ceph-mgr", "ceph-osd", "monmaptool", "ceph", "rbd"] },
  { name: "gluster", commands: ["glusterd", "glusterfsd", "gluster"] },
];

interface PackageRow {
  readonly package: string;
  readonly provides: readonly string[];
}

/** Also where only root looks by itself. */
export function lookWhereRootLooks(): void {
  const folders = new Set((process.env["PATH"] ?? "").split(":"));
  for (const folder of ["/usr/sbin", "/sbin"]) folders.add(folder);
  process.env["PATH"] = [...folders].join(":");
}

/** How to install it, if something of it is missing. */
export function missingOf(name: string): string | undefined {
  const peer = PEERS.find((one) => one.name === name);
  if (peer === undefined) throw new Error(`no peer ${name}`);
  const missing = peer.commands.filter((command) => !isInstalled(command));
  if (missing.length === 0) return undefined;
  const text = fs.readFileSync(path.join(REPOSITORY, "scripts/setup/debian-packages.json"), "utf8");
  const packages = (JSON.parse(text) as readonly PackageRow[])
    .filter(({ provides }) => provides.some((command) => missing.includes(command)))
    .map((row) => row.package);
  return `${missing.join(", ")} not found; as root: apt-get install ${packages.join(" ")}`;
}

function isInstalled(command: string): boolean {
  return (process.env["PATH"] ?? "").split(":").some((folder) => {
    try {
      fs.accessSync(path.join(folder, command), fs.constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
