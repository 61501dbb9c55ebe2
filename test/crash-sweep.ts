/**
 * Runs a part of the crash sweep in a thread of its own: the test runner's bookkeeping of every
 * promise would cost more than the sweep. Reports the first failure as text.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Prng } from "../src/base/index.ts";
import type { CrashPolicy } from "../src/sim/index.ts";
import { Depot } from "../src/trial/depot.ts";
import { randomWorkload, StoreWorld } from "./store-world.ts";

export interface SweepPart {
  readonly seed: number;
  readonly transactions: number;
  /** Operations `first`, `first + step`, ... are cut. */
  readonly first: number;
  readonly step: number;
  /** How many of the policies each operation gets; they take turns. */
  readonly policiesEach: number;
}

export interface LivesPart {
  readonly firstSeed: number;
  readonly seedCount: number;
  readonly livesEach: number;
}

export interface SweepResult {
  readonly runs: number;
  readonly operations: number;
  readonly failure: string | undefined;
}

/** `refusals` metadata commits fail, with all that is built on them by then. */
async function workload(world: StoreWorld, transactions: number, refusals = 0): Promise<void> {
  await world.open();
  world.simMetadata!.refuseNextCommits(refusals);
  await randomWorkload(world, transactions);
  await world.verify();
  await world.device!.close();
}

/** Devices get their memory from here: to have it cleared anew for each life would take longer. */
const depot = new Depot();

async function recoverAndCheck(world: StoreWorld): Promise<void> {
  world.replaceMachine();
  const outcome = await world.run(async () => {
    await world.open();
    await world.verify();
    await world.scrub();
    await world.device!.destage();
    await world.scrub();
    await world.verify();
    await world.device!.close();
  });
  assert.equal(outcome.kind, "done", "recovery ends");
}

function policiesOf(operation: number): CrashPolicy[] {
  return [
    { kind: "none" },
    { kind: "random", seed: operation },
    { kind: "all" },
    { kind: "prefix", requests: 1, sectorsOfNext: operation % 9 },
    { kind: "random", seed: operation * 7919 + 1 },
  ];
}

export async function sweep(part: SweepPart): Promise<SweepResult> {
  const rehearsal = new StoreWorld({ seed: part.seed });
  const done = await rehearsal.run(() => workload(rehearsal, part.transactions));
  assert.equal(done.kind, "done");
  const operations = rehearsal.machine.operationCount;
  let runs = 0;
  for (let operation = part.first; operation <= operations; operation += part.step) {
    const policies = policiesOf(operation);
    for (let turn = 0; turn < part.policiesEach; turn++) {
      const policy = policies[(operation + turn) % policies.length]!;
      const world = new StoreWorld({ seed: part.seed, depot });
      world.machine.cutPowerAt(operation, policy);
      try {
        const outcome = await world.run(() => workload(world, part.transactions));
        assert.equal(outcome.kind, "power-cut");
        await recoverAndCheck(world);
      } catch (error) {
        const label = `seed ${part.seed}, cut at ${operation} of ${operations}`;
        const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
        return { runs, operations, failure: `${label}, ${JSON.stringify(policy)}: ${reason}` };
      }
      depot.takeBack();
      runs++;
    }
  }
  return { runs, operations, failure: undefined };
}

/** Many lives of one device: each ends in a power cut anywhere, also during recovery. */
export async function lives(part: LivesPart): Promise<SweepResult> {
  let runs = 0;
  for (let seed = part.firstSeed; seed < part.firstSeed + part.seedCount; seed++) {
    const world = new StoreWorld({ seed, blockCount: 128, depot });
    const prng = new Prng(seed);
    try {
      for (let life = 0; life < part.livesEach; life++) {
        world.machine.cutPowerAt(prng.between(1, 40), { kind: "random", seed: prng.u32() });
        await world.run(() => workload(world, 12, life % 3));
        if (world.machine.isOn) world.machine.cutPower({ kind: "none" });
        if (prng.chance(0.5)) await recoverAndCheck(world);
        world.replaceMachine();
        runs++;
      }
      await recoverAndCheck(world);
    } catch (error) {
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return { runs, operations: 0, failure: `lives of seed ${seed}: ${reason}` };
    }
    depot.takeBack();
  }
  return { runs, operations: 0, failure: undefined };
}

/** Runs the part in a worker. */
export function sweepInWorker(part: SweepPart | LivesPart): Promise<SweepResult> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: part });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

if (!isMainThread && parentPort !== null) {
  const part = workerData as SweepPart | LivesPart;
  parentPort.postMessage(await ("firstSeed" in part ? lives(part) : sweep(part)));
}
