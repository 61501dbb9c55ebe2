/** Which compiled test files run, in which stage. Pure, so that the choice itself can be tested. */
export interface TestStage {
  readonly name: "unit" | "e2e";
  readonly files: readonly string[];
  /** Files at the same time. */
  readonly concurrency: number;
  /** Limit for one file. Tests may set shorter ones of their own. */
  readonly timeoutMs: number;
}

export interface TestChoice {
  readonly stages: readonly TestStage["name"][];
  /** A file runs if its path contains any of these; all run if there are none. */
  readonly filters: readonly string[];
  readonly processors: number;
  /** Those that take long, too. */
  readonly isLong?: boolean;
}

const UNIT_TIMEOUT_MS = 120_000;
const E2E_TIMEOUT_MS = 420_000;
/** Tests that are told to take long go on for minutes where they otherwise take seconds. */
const LONG_FACTOR = 20;

function e2eFiles(...names: readonly string[]): readonly string[] {
  return names.map((name) => `dist/test/e2e/${name}.test.js`);
}

/**
 * The longest, by processor time or by waiting, so that a slow machine runs all others in time.
 * `npm test -- NAME` and DRYSTONE_LONG=1 run them.
 */
const LONG = e2eFiles(
  ...["authority", "debian", "isolation", "network-faults", "own-directory", "package"],
  ...["snapshot-space", "soak", "storage-sides", "upgrade"],
  ...["vm-etcd-loss", "vm-host-faults", "vm-network-faults"],
);
/** Their measure is how soon something happens. */
const ALONE = e2eFiles("dashboard-large", "tour");
/** Minutes each: begun first, so that none is left over at the end. */
const FIRST = e2eFiles(
  ...["vhost-cluster", "vhost-changes", "vhost-guest", "cluster", "partition", "resources"],
  ...["guest", "host-refusals", "dashboard"],
  ...["vm", "catch-up", "host-restart", "disk-faults", "snapshot", "storage-partition"],
);

/** `files` are paths of compiled tests relative to the repository. */
export function planTests(files: readonly string[], choice: TestChoice): TestStage[] {
  const wanted = files.filter((file) =>
    choice.filters.length === 0
      ? choice.isLong === true || !LONG.includes(file)
      : choice.filters.some((filter) => file.includes(filter)),
  );
  const factor = choice.isLong === true ? LONG_FACTOR : 1;
  const endToEnd = wanted.filter((file) => file.startsWith("dist/test/e2e/"));
  const beside = endToEnd.filter((file) => !ALONE.includes(file));
  const isFirst = (file: string): boolean => FIRST.includes(file);
  const stages: TestStage[] = [
    {
      name: "unit",
      files: wanted.filter((file) => !endToEnd.includes(file)),
      concurrency: Math.max(1, choice.processors),
      timeoutMs: factor * UNIT_TIMEOUT_MS,
    },
    // They wait, for leases, silence, guests and disks, at least as much as they work.
    {
      name: "e2e",
      files: [...beside.filter(isFirst), ...beside.filter((file) => !isFirst(file))],
      concurrency: Math.min(3, choice.processors + 1),
      timeoutMs: factor * E2E_TIMEOUT_MS,
    },
    {
      name: "e2e",
      files: endToEnd.filter((file) => ALONE.includes(file)),
      concurrency: 1,
      timeoutMs: factor * E2E_TIMEOUT_MS,
    },
  ];
  return stages.filter((stage) => choice.stages.includes(stage.name) && stage.files.length > 0);
}
