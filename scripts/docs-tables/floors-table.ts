import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "../repository.ts";
import { markdownTable } from "./markdown-table.ts";

const PURPOSE: ReadonlyMap<string, string> = new Map([
  ["base", "assertions, byte codecs, checksums, bounded queues; no I/O, no time"],
  ["ports", "what the world offers, as interfaces: clock, disk, network, directory, ..."],
  ["format", "every on-disk and on-wire layout, declared once as data"],
  ["cache", "the page cache with two-phase eviction"],
  ["store", "one device: journal, maps, block store, destage, scrub"],
  ["cluster", "the records of the directory: hosts, objects, volumes"],
  ["object", "one object: its tree, its owner, its transactions"],
  ["link", "messages between hosts: one link to each, calls, death detection"],
  ["plane", "one host's part in the cluster: components for others, volumes, membership"],
  ["ha", "virtual machines: which host runs which, and what happens when one fails"],
  ["frontend", "how clients reach a volume: NBD, vhost-user-blk, shared memory"],
  ["platform", "the ports on Node and Linux"],
  ["sim", "the ports in one deterministic process, with faults"],
  ["trial", "a whole cluster in virtual time from one seed: users, faults, checkers"],
  ["client", "a volume in another process, over shared memory: the library drystone/client"],
  ["host", "puts the floors together: the daemon and its API"],
  ["cli", "the operator's commands"],
]);

function imports(floor: string): readonly string[] {
  const text = readFileSync(join(REPOSITORY, "src", floor, "tsconfig.json"), "utf8");
  const { references } = JSON.parse(text) as { references?: readonly { path: string }[] };
  return (references ?? []).map(({ path }) => path.replace("../", ""));
}

/** The floors, lowest first, with the imports their compiler settings allow. */
export function floorsTable(): string {
  const folders = readdirSync(join(REPOSITORY, "src")).filter((name) =>
    existsSync(join(REPOSITORY, "src", name, "tsconfig.json")),
  );
  const known = [...PURPOSE.keys()].filter((floor) => folders.includes(floor));
  const others = folders.filter((floor) => !PURPOSE.has(floor));
  return markdownTable(
    ["floor", "holds", "may import"],
    [...known, ...others].map((floor) => [
      `\`src/${floor}\``,
      PURPOSE.get(floor) ?? "",
      imports(floor).join(", ") || "nothing",
    ]),
  );
}
