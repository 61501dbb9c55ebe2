/** What a process has open, by kind: a leak is told by what grows, not only by how much. */
import * as fs from "node:fs";

export interface OpenFiles {
  /** All that are no sockets. */
  readonly files: number;
  readonly unixSockets: number;
  /** They come and go with what others ask of the process. */
  readonly tcpSockets: number;
  /** "pipe", "unix socket control.sock", "/device/data" and the like. */
  readonly kinds: ReadonlyMap<string, number>;
}

/** `folder` is left out of names. Throws with ENOENT or ESRCH if the process has ended. */
export function openFiles(pid: number, folder: string): OpenFiles {
  const unix = unixSockets(pid);
  const kinds = new Map<string, number>();
  const count = { files: 0, unixSockets: 0, tcpSockets: 0 };
  for (const descriptor of fs.readdirSync(`/proc/${pid}/fd`)) {
    const link = linkOf(`/proc/${pid}/fd/${descriptor}`);
    if (link === undefined) continue;
    const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
    const path = inode === undefined ? undefined : unix.get(inode);
    let kind = "TCP socket";
    if (inode === undefined) kind = link.replace(/:\[\d+\]$/, "");
    else if (path !== undefined) kind = `unix socket ${path}`.trim();
    if (inode === undefined) count.files++;
    else if (path === undefined) count.tcpSockets++;
    else count.unixSockets++;
    const name = kind.replaceAll(folder, "");
    kinds.set(name, (kinds.get(name) ?? 0) + 1);
  }
  return { ...count, kinds };
}

/** Those of which there are more, the most first. */
export function grownKinds(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): string {
  return [...after]
    .map(([kind, count]) => ({ kind, more: count - (before.get(kind) ?? 0) }))
    .filter(({ more }) => more > 0)
    .toSorted((a, b) => b.more - a.more)
    .slice(0, 5)
    .map(({ kind, more }) => `${more} ${kind}`)
    .join(", ");
}

/** The path by the inode; empty for those without. */
function unixSockets(pid: number): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const line of fs.readFileSync(`/proc/${pid}/net/unix`, "utf8").split("\n").slice(1)) {
    const [inode, path = ""] = line.trim().split(/\s+/).slice(6);
    if (inode !== undefined) found.set(inode, path);
  }
  return found;
}

/** Undefined once it was closed. */
function linkOf(path: string): string | undefined {
  try {
    return fs.readlinkSync(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
