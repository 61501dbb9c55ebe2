/**
 * Runs a cluster of real processes for minutes or hours under a load that remembers every
 * acknowledged write, with random faults, snapshots, rebuilds and changes, and looks for errors,
 * lost writes, leaks and drift.
 *
 *   npm run soak -- --hours 3                       three hours
 *   npm run soak -- --minutes 45 --seed 7           the plan of this seed
 *   npm run soak -- --hours 1 --json soak.json      everything that was measured, too
 *   npm run soak -- --minutes 10 --faults kill,cut-storage --dir /data
 *
 * Ctrl-C ends it with the same checks as the end of the time; once more, without. Exit code 1 for
 * any error, lost write, leak or drift.
 */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { programOptions } from "../scripts/program-options.ts";
import { etcdMissing } from "./e2e/etcd.ts";
import { FAULTS } from "./soak/soak-plan.ts";
import type { Fault } from "./soak/soak-plan.ts";
import { textOf } from "./soak/soak-report.ts";
import { SoakRun } from "./soak/soak-run.ts";
import type { SoakOptions } from "./soak/soak-run.ts";

const SEED_MAX = 2 ** 32 - 1;
const HOSTS_MAX = 16;
const LOAD_MIB_DEFAULT = 128;

interface Options extends SoakOptions {
  readonly json: string | undefined;
}

function usage(problem: string): never {
  console.error(`soak: ${problem}. Next step: npm run soak -- --minutes 10`);
  process.exit(2);
}

function numberIn(text: string, what: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= min && value <= max) return value;
  return usage(`${what} is a number from ${min} to ${max}, not "${text}"`);
}

function faultsIn(text: string | undefined, hasEtcd: boolean, hosts: number): readonly Fault[] {
  const asked = text?.split(",");
  for (const one of asked ?? [])
    if (!FAULTS.some((fault) => fault === one))
      usage(`there is no fault "${one}", only ${FAULTS.join(", ")}`);
  const may = FAULTS.filter((fault) => {
    if (fault.startsWith("directory-")) return hasEtcd;
    // Somewhere has to be left for a third component.
    return hosts >= 4 || (fault !== "away" && fault !== "evacuate");
  });
  const chosen = may.filter((fault) => asked?.includes(fault) ?? true);
  if (chosen.length === 0) usage("none of these faults can be dealt to this cluster");
  return chosen;
}

function readOptions(): Options {
  const { values } = programOptions("soak", import.meta.url, {
    options: {
      hours: { type: "string" },
      minutes: { type: "string" },
      seed: { type: "string", default: "1" },
      hosts: { type: "string", default: "4" },
      directory: { type: "string" },
      faults: { type: "string" },
      size: { type: "string", default: String(LOAD_MIB_DEFAULT) },
      lanes: { type: "string", default: "8" },
      "pause-ms": { type: "string", default: "20" },
      dir: { type: "string", default: os.tmpdir() },
      json: { type: "string" },
    },
  });
  const { hours, minutes } = values;
  if ((hours === undefined) === (minutes === undefined)) usage("give --hours or --minutes");
  const seconds =
    hours === undefined
      ? 60 * numberIn(minutes ?? "", "--minutes", 0.1, 60_000)
      : 3600 * numberIn(hours, "--hours", 0.01, 1000);
  const missing = etcdMissing();
  const directory = values.directory ?? (missing === undefined ? "etcd" : "embedded");
  if (directory !== "etcd" && directory !== "embedded")
    usage(`--directory is etcd or embedded, not "${directory}"`);
  if (directory === "etcd" && missing !== undefined) usage(missing);
  const hosts = numberIn(values.hosts, "--hosts", 3, HOSTS_MAX);
  return {
    seconds,
    seed: numberIn(values.seed, "--seed", 0, SEED_MAX),
    hosts,
    directory,
    isEachHostChecked: true,
    faults: faultsIn(values.faults, directory === "etcd", hosts),
    folder: fs.mkdtempSync(path.join(values.dir, "drystone-soak-")),
    loadBytes: numberIn(values.size, "--size", 1, 10_240) * 2 ** 20,
    lanes: numberIn(values.lanes, "--lanes", 1, 256),
    pauseMs: numberIn(values["pause-ms"], "--pause-ms", 0, 60_000),
    json: values.json,
    progress: (line) => console.log(line),
  };
}

const options = readOptions();
// While the cluster is being made there is nothing to end yet.
const made = SoakRun.create(options);
let interrupts = 0;
process.on("SIGINT", () => {
  interrupts++;
  if (interrupts > 1) {
    void made.then((run) => run.abandon()).then(() => process.exit(1));
    return;
  }
  console.log("ends with what is under way and the last checks; once more ends it at once");
  void made.then((run) => run.stop());
});
const run = await made;
const report = await run.run();
for (const line of textOf(report)) console.log(line);
if (options.json !== undefined) fs.writeFileSync(options.json, JSON.stringify(report));
if (report.isGood) fs.rmSync(options.folder, { recursive: true, force: true });
else console.log(`everything is left in ${options.folder}`);
process.exitCode = report.isGood ? 0 : 1;
