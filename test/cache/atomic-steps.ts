/**
 * Stops synchronous code on shared memory at a chosen atomic operation: to end it there, as a
 * thread that is killed ends, or to let others work meanwhile. Plain accesses between two atomic
 * operations count to the first of them. A waiting thread never sleeps here; if it waits for longer
 * than any bounded wait, that is an error.
 */
const WAITS_MAX = 20_000;

/**
 * What ends the code of a thread: nothing of it that is atomic runs any more, handlers included.
 */
class Death extends Error {}

export interface Stop {
  /** Before which operation: the first is 0. */
  readonly step: number;
  /** What happens there meanwhile. */
  readonly meanwhile?: () => void;
  /** Whether the code ends there; otherwise it goes on. */
  readonly dies: boolean;
}

export interface StepsDone {
  readonly died: boolean;
  /** How many operations there were. */
  readonly steps: number;
}

type AtomicName = "load" | "store" | "add" | "exchange" | "compareExchange";
const NAMES: readonly AtomicName[] = ["load", "store", "add", "exchange", "compareExchange"];

let onStep: (() => void) | undefined;
let waits = 0;

function replaceAtomics(): () => void {
  const originals = { ...pick(NAMES), wait: Atomics.wait };
  for (const name of NAMES) {
    const original = originals[name] as (...args: number[]) => number;
    const stepped = (...args: number[]): number => {
      onStep?.();
      return original(...args);
    };
    Object.defineProperty(Atomics, name, { value: stepped });
  }
  const wait = (): string => {
    onStep?.();
    if (++waits > WAITS_MAX) throw new Error("a wait does not end");
    return "timed-out";
  };
  Object.defineProperty(Atomics, "wait", { value: wait });
  return () => {
    for (const [name, value] of Object.entries(originals)) {
      Object.defineProperty(Atomics, name, { value });
    }
  };
}

function pick(names: readonly AtomicName[]): Record<AtomicName, unknown> {
  return Object.fromEntries(names.map((name) => [name, Atomics[name]])) as Record<
    AtomicName,
    unknown
  >;
}

/** Within it, `runUntil` works. */
export function withAtomicSteps<T>(body: () => T): T {
  const restore = replaceAtomics();
  try {
    return body();
  } finally {
    restore();
  }
}

/** Runs code that may be stopped; it may itself be what happens while other code is stopped. */
export function runUntil(stop: Stop | undefined, code: () => void): StepsDone {
  const outer = onStep;
  let steps = 0;
  let died = false;
  const count = (): void => {
    if (died) throw new Death();
    if (steps++ !== stop?.step) return;
    onStep = undefined;
    stop.meanwhile?.();
    onStep = count;
    died = stop.dies;
    if (died) throw new Death();
  };
  onStep = count;
  waits = 0;
  try {
    code();
  } catch (error) {
    if (!(error instanceof Death)) throw error;
  } finally {
    onStep = outer;
  }
  return { died, steps };
}
