/**
 * Coverage marks: a line in production names the path it is on, and a test proves that it took that
 * path: `const mark = marks.expect("journal wrapped"); ...; mark.verify()`.
 *
 * The only state is what tests expect now, and what a trial counts; without expectations a hit is
 * one comparison, and nothing that production does may depend on it. Tests of one process that
 * expect the same mark must run one after the other (`node:test` does that within a file): a second
 * expectation of a mark asserts, so that one test is never satisfied by what another one did.
 */
import { assert } from "./assert.ts";

/** Hits since the expectation, by mark. */
const expected = new Map<string, number>();
/** Hits of all marks, while somebody counts them. */
let counted: Map<string, number> | undefined;

export interface ExpectedMark {
  readonly hits: number;
  /** Ends the expectation. Asserts that the mark was hit, or exactly `times` if given. */
  verify(times?: number): void;
}

export const marks = {
  /** In production: this path was taken. The name is a constant, unique in the source. */
  hit(name: string): void {
    if (counted !== undefined) counted.set(name, (counted.get(name) ?? 0) + 1);
    if (expected.size === 0) return;
    const hits = expected.get(name);
    if (hits !== undefined) expected.set(name, hits + 1);
  },

  /** In a trial: counts every mark from now on, until `end` tells how often each was hit. */
  countAll(): { end(): ReadonlyMap<string, number> } {
    assert(counted === undefined, "somebody counts the marks already");
    const own = new Map<string, number>();
    counted = own;
    return {
      end() {
        assert(counted === own, "they are not counted any more");
        counted = undefined;
        return own;
      },
    };
  },

  /** In a test: from now on, count this mark. */
  expect(name: string): ExpectedMark {
    assert(!expected.has(name), `the mark "${name}" is expected by another test`);
    expected.set(name, 0);
    return {
      get hits() {
        return expected.get(name) ?? 0;
      },
      verify(times?: number) {
        const hits = expected.get(name);
        expected.delete(name);
        assert(hits !== undefined, `the mark "${name}" was verified before`);
        if (times === undefined) assert(hits > 0, `the path "${name}" was not taken`);
        else assert(hits === times, `the path "${name}" was taken ${hits} times, not ${times}`);
      },
    };
  },
} as const;
