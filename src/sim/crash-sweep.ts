/**
 * Cuts the power at every operation of a workload, in many ways, and lets a test look at what is
 * left.
 *
 * The workload runs once. At each operation of its machine, images of the media are made as a cut
 * there would leave them; each is handed to `verify` on a machine of its own, in a simulation of
 * its own. What had been acknowledged is noted at the very moment of the cut. A failure names seed,
 * operation and policy, which is all it takes to see it again.
 */
import { CodedError, errorText, Prng } from "../base/index.ts";
import type { CrashPolicy } from "./crash-policy.ts";
import type { DiskMedium } from "./disk-medium.ts";
import type { MetadataMedium } from "./metadata-medium.ts";
import { SimMachine, type SimOperation } from "./sim-machine.ts";
import { Simulation } from "./simulation.ts";

export interface SweepMedia {
  readonly disk: DiskMedium;
  readonly metadata: MetadataMedium;
}

export interface CrashSweep<Acknowledged> {
  readonly seed: number;
  readonly buggify?: boolean;
  readonly media: SweepMedia;
  readonly workload: (machine: SimMachine, media: SweepMedia) => Promise<void>;
  /** A copy of what the workload has been told is safe. */
  readonly acknowledged: () => Acknowledged;
  /** The ways to cut at this operation; `standardCuts()` if absent. */
  readonly policies?: (cut: CutPoint) => readonly CrashPolicy[];
  /** Recovers from the media and throws if something acknowledged is not there. */
  readonly verify: (
    machine: SimMachine,
    media: SweepMedia,
    acknowledged: Acknowledged,
  ) => Promise<void>;
}

export interface CutPoint {
  readonly operation: SimOperation;
  /** How many requests the cut may undo. */
  readonly unflushedCount: number;
  readonly prng: Prng;
}

export interface SweepReport {
  readonly operations: number;
  readonly images: number;
}

interface Image<Acknowledged> {
  readonly operation: SimOperation;
  readonly policy: CrashPolicy;
  readonly media: SweepMedia;
  readonly acknowledged: Acknowledged;
}

const PREFIXES_MAX = 8;

/**
 * All, none, up to eight prefixes of the unflushed requests (the longest ones, and some torn in the
 * request after them), and `randomCount` random ones.
 */
export function standardCuts(randomCount = 3): (cut: CutPoint) => CrashPolicy[] {
  return ({ unflushedCount, prng }) => {
    const policies: CrashPolicy[] = [{ kind: "all" }, { kind: "none" }];
    const first = Math.max(0, unflushedCount - PREFIXES_MAX);
    for (let requests = first; requests < unflushedCount; requests++) {
      policies.push({ kind: "prefix", requests, sectorsOfNext: prng.below(8) });
    }
    for (let i = 0; i < randomCount; i++) policies.push({ kind: "random", seed: prng.u32() });
    return policies;
  };
}

/** Fails with code `crash-sweep` for the first image that does not verify. */
export async function sweepCrashes<Acknowledged>(
  sweep: CrashSweep<Acknowledged>,
): Promise<SweepReport> {
  const simulation = new Simulation({ seed: sweep.seed, buggify: sweep.buggify === true });
  const machine = new SimMachine(simulation);
  const policiesOf = sweep.policies ?? standardCuts();
  const prng = new Prng(sweep.seed);
  const images: Image<Acknowledged>[] = [];
  let imageCount = 0;
  const takeImages = (operation: SimOperation): void => {
    const acknowledged = sweep.acknowledged();
    const cut = { operation, unflushedCount: machine.unflushedCount, prng };
    for (const policy of policiesOf(cut)) {
      const media = imageOf(machine, sweep.media, policy);
      images.push({ operation, policy, media, acknowledged });
    }
  };
  machine.onOperation = takeImages;
  const progress = { isOver: false };
  const work = sweep.workload(machine, sweep.media).finally(() => {
    takeImages({ number: machine.operationCount + 1, kind: "end", offset: 0, lengthBytes: 0 });
    machine.onOperation = undefined;
    progress.isOver = true;
  });
  // Whoever awaits it below hears of a failure; until then it is not an unhandled one.
  work.catch(() => {});
  while (!progress.isOver || images.length > 0) {
    await simulation.runUntil(() => progress.isOver || images.length > 0);
    for (const image of images.splice(0)) {
      await verifyImage(sweep, image);
      imageCount++;
    }
  }
  await work;
  return { operations: machine.operationCount, images: imageCount };
}

function imageOf(machine: SimMachine, media: SweepMedia, policy: CrashPolicy): SweepMedia {
  return {
    disk: machine.imageAfterCut(media.disk, policy),
    metadata: machine.imageAfterCut(media.metadata, policy),
  };
}

async function verifyImage<Acknowledged>(
  sweep: CrashSweep<Acknowledged>,
  image: Image<Acknowledged>,
): Promise<void> {
  const machine = new SimMachine(new Simulation({ seed: sweep.seed + image.operation.number }));
  try {
    await machine.run(() => sweep.verify(machine, image.media, image.acknowledged));
  } catch (error) {
    const { number, kind, offset, lengthBytes } = image.operation;
    const where = `operation ${number} (${kind} of ${lengthBytes} bytes at ${offset})`;
    const how = JSON.stringify(image.policy);
    throw new CodedError(
      {
        code: "crash-sweep",
        message: `seed ${sweep.seed}, cut at ${where}, ${how}: ${errorText(error)}`,
      },
      { cause: error },
    );
  }
}
