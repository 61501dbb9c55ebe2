/**
 * One trial: a whole cluster in virtual time, from one seed. Clients work while things go wrong;
 * then everything is put right, and what must be true is checked. The same seed takes the same way
 * every time.
 */
import { marks } from "../base/index.ts";
import { aimed } from "./aimed-plan.ts";
import type { Depot } from "./depot.ts";
import { runFaults } from "./fault-driver.ts";
import { finalChecks } from "./final-checks.ts";
import type { Mutant } from "./mutants.ts";
import { shortened } from "./short-plan.ts";
import { findMoment } from "./snapshot-moment.ts";
import { TrialClient } from "./trial-client.ts";
import { stackOf } from "./trial-host.ts";
import { TrialOperator } from "./trial-operator.ts";
import { planTrial } from "./trial-plan.ts";
import type { TrialSnapshot, TrialVolume } from "./trial-volume.ts";
import { TrialWorld } from "./trial-world.ts";
import type { Failure } from "./trial-world.ts";
import type { BlockOperation } from "./linearizability.ts";
import type { Violation } from "./volume-history.ts";

export interface TrialOptions {
  /** May be used for any number of trials, one after the other. */
  readonly depot: Depot;
  /** A safety rule to leave out. */
  readonly mutant?: Mutant | undefined;
  /** Seconds of faults instead of up to a minute and a half: see `shortened`. */
  readonly isShort?: boolean | undefined;
  /** Hears of everything that happens, as it happens. */
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface TrialReport {
  readonly seed: number;
  readonly failure: Failure | undefined;
  /** What happened, to be read by people. Empty if nothing failed. */
  readonly trace: readonly string[];
  /** Of the way the trial took. */
  readonly digest: number;
  readonly virtualMs: number;
  readonly events: number;
  readonly requests: number;
  /** Blocks whose history had too many requests without an outcome. */
  readonly undecidedBlocks: number;
  /** Rare paths of the product that were taken, and how often. */
  readonly marks: Readonly<Record<string, number>>;
}

export async function runTrial(seed: number, options: TrialOptions): Promise<TrialReport> {
  const { depot, mutant, onLine, isShort } = options;
  const whole = planTrial(seed);
  const plan = aimed(seed, isShort === true ? shortened(seed, whole) : whole);
  const world = new TrialWorld(seed, plan, { depot, mutant, onLine });
  let undecidedBlocks = 0;
  const counting = marks.countAll();
  try {
    await world.prepare();
    await world.simulation.run(() => live(world));
    undecidedBlocks = checkHistories(world);
  } catch (error) {
    world.fail("crash", stackOf(error));
  } finally {
    depot.takeBack();
  }
  const taken = Object.fromEntries(counting.end());
  const histories = world.volumes.flatMap((volume) => volume.histories);
  return {
    seed,
    failure: world.failure,
    trace: world.failure === undefined ? [] : world.trace.lines(),
    digest: world.trace.digest,
    virtualMs: world.simulation.nowMs,
    events: world.simulation.eventCount,
    requests: histories.reduce((sum, history) => sum + history.requestCount, 0),
    undecidedBlocks,
    marks: taken,
  };
}

async function live(world: TrialWorld): Promise<void> {
  await world.build();
  if (world.failure !== undefined) return;
  // What a client throws ends the trial at once.
  await new Promise<void>((resolve, reject) => {
    const use = (volume: TrialVolume): void => {
      for (let number = 0; number < volume.plan.workload.clientCount; number++)
        new TrialClient(world, volume, number).run().catch(reject);
    };
    for (const volume of world.volumes) use(volume);
    work(world, new TrialOperator(world, use)).then(resolve, reject);
  });
}

async function work(world: TrialWorld, operator: TrialOperator): Promise<void> {
  const operating = operator.run();
  await runFaults(world);
  await operating;
  world.isOver = true;
  if (world.failure === undefined) await finalChecks(world);
  if (world.failure !== undefined) await traceUndecided(world);
}

/** For who reads the trace: what holds up what came after it. */
async function traceUndecided(world: TrialWorld): Promise<void> {
  for (const { name, device } of world.hosts)
    for (const { componentId, objectId, epoch, ...info } of device?.undecided() ?? []) {
      const record = await world.record(objectId);
      const what =
        record === undefined
          ? "that is gone"
          : `epoch ${record.epoch}, owner ${record.owner ?? "nobody"}`;
      const tail = `${info.committedSequence} to ${info.preparedSequence}`;
      world.trace.add(
        name,
        `undecided: ${componentId} of ${objectId} (${what}), ${epoch}: ${tail}`,
      );
    }
}

/** How many blocks could not be decided. */
function checkHistories(world: TrialWorld): number {
  let undecided = 0;
  for (const snapshot of world.snapshots) checkSnapshot(world, snapshot);
  for (const { name, histories } of world.volumes)
    for (const history of histories) {
      const checked = history.check();
      undecided += checked.undecided;
      if (checked.violation !== undefined)
        world.fail("not-linearizable", describe(name, checked.violation));
    }
  return undecided;
}

/** It was its volume at one moment, and reads from before it do not contradict it. */
function checkSnapshot(world: TrialWorld, snapshot: TrialSnapshot): void {
  const { history, name, contents, from, until } = snapshot;
  if (until === Infinity) return;
  const { initial } = history;
  const verdict = findMoment({ contents, initial, writes: history.writes(), from, until });
  if (!verdict.isFound)
    world.fail(
      "snapshot",
      `${name} is its volume at no moment: sector ${verdict.sector} holds ${verdict.content}`,
    );
  const seen = contents.filter((content) => content !== undefined);
  if (seen.length === contents.length) history.observe(seen, from, until);
}

function describe(name: string, violation: Violation): string {
  const { block, operation, operations } = violation;
  const at = operations.indexOf(operation);
  const near = operations.slice(Math.max(0, at - 12), at + 4);
  const lines = near.map((one) => `${one === operation ? "=>" : "  "} ${lineOf(one)}`);
  return `no order explains what was seen of block ${block} of ${name}:\n${lines.join("\n")}`;
}

function lineOf({ kind, firstSector, contents, calledAt, answeredAt }: BlockOperation): string {
  const what = kind === "read" ? "saw" : "left";
  const answer = answeredAt === Infinity ? "no answer" : `answered at ${answeredAt}`;
  return `${kind} from sector ${firstSector}, called at ${calledAt}, ${answer}, ${what} ${contents.join(" ")}`;
}
