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
}

export const UNIT_TIMEOUT_MS = 120_000;
export const E2E_TIMEOUT_MS = 420_000;

/** `files` are paths of compiled tests relative to the repository. */
export function planTests(files: readonly string[], choice: TestChoice): TestStage[] {
  const wanted = files.filter(
    (file) => choice.filters.length === 0 || choice.filters.some((filter) => file.includes(filter)),
  );
  const isE2e = (file: string): boolean => file.startsWith("dist/test/e2e/");
  const stages: TestStage[] = [
    {
      name: "unit",
      files: wanted.filter((file) => !isE2e(file)),
      concurrency: Math.max(1, choice.processors),
      timeoutMs: UNIT_TIMEOUT_MS,
    },
    // One at a time: they start daemons and guests, and some of them measure time.
    { name: "e2e", files: wanted.filter(isE2e), concurrency: 1, timeoutMs: E2E_TIMEOUT_MS },
  ];
  return stages.filter((stage) => choice.stages.includes(stage.name) && stage.files.length > 0);
}
