/** The machine, the versions and what is missing, for reports. */
import { execFileSync } from "node:child_process";
import * as os from "node:os";
import { REPOSITORY } from "../../scripts/repository.ts";
import { missingOf, PEERS } from "./catalogue.ts";

export interface Facts {
  readonly at: string;
  readonly commit: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryBytes: number;
    readonly kernel: string;
    readonly node: string;
  };
  readonly versions: Readonly<Record<string, string>>;
  readonly missing: readonly { readonly name: string; readonly why: string }[];
}

export interface Loads {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** Lines for people. */
export function factLines(facts: Facts, load: Loads): readonly string[] {
  const { machine } = facts;
  const memory = (machine.memoryBytes / 2 ** 30).toFixed(0);
  const peers = Object.entries(facts.versions).map(([name, version]) => `${name} ${version}`);
  const loads = [load.before, load.after].map((list) => (list[0] ?? 0).toFixed(1));
  return [
    `Commit ${facts.commit}, ${facts.at.slice(0, 10)}; ${machine.cpu}, ${machine.cores} processors, ${memory} GiB,`,
    `Linux ${machine.kernel}, Node ${machine.node}; load ${loads[0]} before and ${loads[1]} after.`,
    `Peers: ${peers.join(", ")}.`,
    ...facts.missing.map(({ name, why }) => `${name} was not measured: ${why}.`),
  ];
}

export function saySkipped(peers: readonly string[]): void {
  for (const name of peers) {
    const missing = missingOf(name);
    if (missing !== undefined) console.error(`${name} is not measured: ${missing}`);
  }
}

/** What a reader must know to judge figures beside these peers. */
export function facts(peers: readonly string[]): Facts {
  const git = ["describe", "--always", "--dirty", "--abbrev=10"];
  return {
    at: new Date().toISOString(),
    commit: execFileSync("git", git, { cwd: REPOSITORY, encoding: "utf8" }).trim(),
    machine: {
      cpu: os.cpus()[0]?.model ?? "unknown",
      cores: os.availableParallelism(),
      memoryBytes: os.totalmem(),
      kernel: os.release(),
      node: process.version,
    },
    missing: peers.flatMap((name) => {
      const why = missingOf(name);
      return why === undefined ? [] : [{ name, why }];
    }),
    versions: versions(peers),
  };
}

/** What each peer calls itself. */
function versions(peers: readonly string[]): Readonly<Record<string, string>> {
  const present = PEERS.filter(({ name }) => peers.includes(name) && missingOf(name) === undefined);
  return Object.fromEntries(
    present.map(({ name, commands }) => {
      const said = execFileSync(commands.at(-1)!, ["--version"], { encoding: "utf8" });
      return [name, /\d+\.\d+(\.\d+)?/.exec(said)?.[0] ?? "unknown"];
    }),
  );
}
