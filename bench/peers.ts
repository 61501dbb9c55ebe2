/**
 * Drystone beside the peers that are installed, in one command:
 *
 *   npm run bench -- peers [--quick] [--only SCENE] [--workload PART] [--target PART]
 *       [--rounds N] [--seconds S] [--dir FOLDER] [--json FILE] [--record] [--install]
 *
 * Scenes: `one-host`, `machine`, `three-hosts`. `--install` lets the set-up install the peers'
 * Debian packages first; without it nothing is installed. `--record` writes
 * docs/performance/peers.md and its plots; they go to .cache/bench anyway.
 */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { programOptions } from "../scripts/program-options.ts";
import { REPOSITORY } from "../scripts/repository.ts";
import { isWanted } from "./benchmark.ts";
import { facts, saySkipped } from "./peers/facts.ts";
import { lookWhereRootLooks, missingOf, PEERS } from "./peers/catalogue.ts";
import { enclosedScratch, handOut, runEnclosed } from "./peers/enclosure.ts";
import type { Scratch } from "./peers/enclosure.ts";
import type { PeerOptions } from "./peers/interleave.ts";
import { measureOneHost } from "./peers/one-host.ts";
import { peersSection, peersTable, withMeasured } from "./peers/page.ts";
import type { PeersReport, Scene } from "./peers/page.ts";
import { peersSvg } from "./peers/plot.ts";
import { measureThreeHosts } from "./peers/three-hosts.ts";
import { vhostBenchmark } from "./vhost.ts";

const PAGE = "docs/performance/peers.md";
const ROUNDS = 3;
const SECONDS = 2;

interface SceneKind {
  readonly name: string;
  readonly title: string;
  run(scratch: Scratch, options: PeerOptions): Promise<Scene["figures"]>;
}

const SCENES: readonly SceneKind[] = [
  {
    name: "one-host",
    title: "One host, over NBD",
    run: ({ disk }, options) => measureOneHost(disk, options),
  },
  {
    name: "machine",
    title: "One host, a virtual machine's disk over shared memory (vhost-user)",
    run: async ({ disk }, options) => {
      if (missingOf("qemu-storage-daemon") !== undefined) return [];
      return (await vhostBenchmark.run({ ...options, seconds: options.seconds, folder: disk }))
        .figures;
    },
  },
  {
    name: "three-hosts",
    title: "Three hosts, two copies",
    run: ({ memory }, options) => measureThreeHosts(memory, options),
  },
];

export async function run(args: readonly string[]): Promise<void> {
  const { values } = programOptions("bench", import.meta.url, {
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      install: { type: "boolean", default: false },
      record: { type: "boolean", default: false },
      only: { type: "string", multiple: true, default: [] },
      workload: { type: "string", multiple: true, default: [] },
      target: { type: "string", multiple: true, default: [] },
      rounds: { type: "string" },
      seconds: { type: "string" },
      dir: { type: "string" },
      json: { type: "string" },
    },
  });
  lookWhereRootLooks();
  const options: PeerOptions = {
    rounds: positive("rounds", values.rounds, values.quick ? 1 : ROUNDS),
    seconds: positive("seconds", values.seconds, SECONDS),
    workloads: values.workload,
    targets: values.target,
    progress: (line) => console.error(line),
  };
  const scratch = enclosedScratch();
  if (scratch !== undefined)
    return handOut(scratch, await measureAll(scratch, values.only, options));
  if (!SCENES.some(({ name }) => isWanted(name, values.only))) {
    const names = SCENES.map(({ name }) => name).join(", ");
    throw new Error(`--only ${values.only.join(" ")}: there are ${names}`);
  }
  saySkipped(PEERS.map(({ name }) => name));
  const folders = { disk: values.dir ?? "/var/tmp", memory: values.dir ?? "tmpfs" };
  const known = facts(PEERS.map(({ name }) => name));
  const before = os.loadavg();
  const scenes = await runEnclosed<readonly Scene[]>(["peers", ...args], values.dir);
  const { rounds, seconds } = options;
  const setting = { rounds, seconds, folders, load: { before, after: os.loadavg() } };
  report({ ...known, ...setting, scenes }, values);
}

async function measureAll(
  scratch: Scratch,
  wanted: readonly string[],
  options: PeerOptions,
): Promise<readonly Scene[]> {
  const scenes: Scene[] = [];
  for (const scene of SCENES) {
    const { name, title } = scene;
    if (!isWanted(name, wanted)) continue;
    try {
      const figures = await scene.run(scratch, options);
      if (figures.length > 0) scenes.push({ name, title, figures });
    } catch (error) {
      // What was measured before is not lost; the command fails in the end.
      const failed = error instanceof Error ? error.message : String(error);
      options.progress(`${name}: ${failed}`);
      scenes.push({ name, title, figures: [], failed });
    }
  }
  return scenes;
}

function positive(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= 100) return number;
  throw new Error(`--${name} ${text}: expected a whole number from 1 to 100`);
}

function report(
  result: PeersReport,
  { json, record }: { readonly json?: string | undefined; readonly record: boolean },
): void {
  const text = `${JSON.stringify(result, undefined, 2)}\n`;
  const folder = path.join(REPOSITORY, ".cache/bench");
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, "peers.json"), text);
  if (json !== undefined) fs.writeFileSync(json, text);
  const pageFolder = record ? path.join(REPOSITORY, path.dirname(PAGE)) : folder;
  for (const scene of result.scenes.filter(({ failed }) => failed === undefined))
    fs.writeFileSync(path.join(pageFolder, `peers-${scene.name}.svg`), peersSvg(scene));
  const page = fs.readFileSync(path.join(REPOSITORY, PAGE), "utf8");
  fs.writeFileSync(
    path.join(pageFolder, "peers.md"),
    withMeasured(page, "peers", peersSection(result)),
  );
  console.log(peersTable(result));
  console.error(`the page and its plots are in ${pageFolder}`);
  const failed = result.scenes.filter((scene) => scene.failed !== undefined);
  if (failed.length > 0) throw new Error(`failed: ${failed.map(({ name }) => name).join(", ")}`);
}
