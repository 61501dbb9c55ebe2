/**
 * Which tests were under way when their file was stopped: the runner names only the file, and the
 * reader wants the test that hangs.
 */
export class UnfinishedTests {
  readonly #running: Map<string, Set<string>> = new Map();

  started(file: string, test: string): void {
    const tests = this.#running.get(file) ?? new Set();
    this.#running.set(file, tests.add(test));
  }

  completed(file: string, test: string): void {
    this.#running.get(file)?.delete(test);
  }

  of(file: string): readonly string[] {
    return [...(this.#running.get(file) ?? [])].filter((test) => test !== file);
  }
}
