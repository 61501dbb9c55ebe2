/**
 * The counts of several runs of node's test runner, added up and printed as that runner prints
 * them, so that whoever reads the last lines of a log sees one total.
 */
const COUNTS = ["tests", "suites", "pass", "fail", "cancelled", "skipped", "todo"] as const;

/** Of files that take this long, so many are named at the end. */
const SLOW_MS = 2000;
const SLOWEST_FILES = 20;

type CountName = (typeof COUNTS)[number];

export class TestSummary {
  readonly #counts: Map<CountName, number> = new Map(COUNTS.map((name) => [name, 0]));
  readonly #emptyFiles: string[] = [];
  /** Milliseconds of the tests of each file. */
  readonly #files = new Map<string, number>();

  /**
   * Takes a line such as "pass 12". False if it is not a count, so somebody else should show it.
   */
  takeDiagnostic(message: string): boolean {
    const match = /^(\w+) ([\d.]+)$/.exec(message);
    if (match === null) return false;
    if (match[1] === "duration_ms") return true;
    const name = COUNTS.find((count) => count === match[1]);
    if (name === undefined) return false;
    this.#counts.set(name, this.count(name) + Number(match[2]));
    return true;
  }

  /** A file without a single test would otherwise count as one that passed. */
  addEmptyFile(file: string): void {
    this.#emptyFiles.push(file);
  }

  /** A test of the file, not within another one, is over. */
  addTime(file: string, durationMs: number): void {
    this.#files.set(file, (this.#files.get(file) ?? 0) + durationMs);
  }

  count(name: CountName): number {
    return this.#counts.get(name) ?? 0;
  }

  /** Why the run must not count as a success, or undefined. */
  get failure(): string | undefined {
    if (this.count("fail") > 0) return `${this.count("fail")} tests failed`;
    if (this.count("cancelled") > 0) return `${this.count("cancelled")} tests were cancelled`;
    if (this.#emptyFiles.length > 0) return `no tests in ${this.#emptyFiles.join(", ")}`;
    if (this.count("tests") === 0) return "no tests ran";
    return undefined;
  }

  lines(durationMs: number): string[] {
    const lines = COUNTS.map((name) => `ℹ ${name} ${this.count(name)}`);
    lines.push(`ℹ duration_ms ${durationMs.toFixed(1)}`);
    return [...this.#slowest(), ...lines];
  }

  /** Where the time goes. */
  #slowest(): string[] {
    const files = [...this.#files].filter(([, durationMs]) => durationMs >= SLOW_MS);
    files.sort(([, a], [, b]) => b - a);
    return files
      .slice(0, SLOWEST_FILES)
      .map(([file, durationMs]) => `${(durationMs / 1000).toFixed(1).padStart(7)} s  ${file}`);
  }
}
