/**
 * Every round runs every job on every target once, so that whatever else happens hits all alike.
 */
import { figure, isWanted } from "../benchmark.ts";
import type { Figure } from "../benchmark.ts";
import { figuresOfSamples, measure, WORKLOADS } from "../fio-samples.ts";
import type { FioTarget, Loaded, Sample, Workload } from "../fio-samples.ts";

export interface Target {
  readonly name: string;
  /** What it is compared in: with some settings a server counts for one of them only. */
  readonly kinds: readonly Workload["kind"][];
  readonly loaded: Loaded;
  address(work: Workload): FioTarget;
  kill(): Promise<void>;
}

export interface PeerOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly workloads: readonly string[];
  readonly targets: readonly string[];
  progress(line: string): void;
}

export const OURS = "drystone";

type Samples = ReadonlyMap<string, readonly Sample[]>;

export async function interleave(
  targets: readonly Target[],
  options: PeerOptions,
): Promise<readonly Figure[]> {
  const works = WORKLOADS.filter(({ name }) => isWanted(name, options.workloads));
  const taken = new Map<Workload, Map<string, Sample[]>>(works.map((work) => [work, new Map()]));
  for (let round = 1; round <= options.rounds; round++) {
    for (const [work, samples] of taken) {
      for (const target of targets.filter(({ kinds }) => kinds.includes(work.kind))) {
        const { name, loaded } = target;
        const sample = await measure(loaded, target.address(work), work, options.seconds, 0);
        samples.set(name, [...(samples.get(name) ?? []), sample]);
        const rate = `${sample.iops.toFixed(0)} IOPS`;
        options.progress(`round ${round}  ${work.name}  ${name}  ${rate}`);
      }
    }
  }
  return [...taken].flatMap(([work, samples]) => [
    ...[...samples].flatMap(([name, list]) => figuresOfSamples(work.name, name, list)),
    ...ratios(work.name, samples),
  ]);
}

/** Of ours over each peer's, round by round. */
function ratios(workload: string, samples: Samples): readonly Figure[] {
  const ours = samples.get(OURS);
  if (ours === undefined) return [];
  const fields = [
    ["ratio of IOPS", "iops"],
    ["ratio of CPU us/IO", "serverCpuUs"],
    ["ratio of RSS", "residentMb"],
  ] as const;
  return [...samples]
    .filter(([name]) => name !== OURS)
    .flatMap(([name, theirs]) =>
      fields.map(([metric, field]) =>
        figure(
          { workload, target: `${OURS} / ${name}`, metric },
          ours.map((sample, round) => sample[field] / theirs[round]![field]),
        ),
      ),
    );
}
