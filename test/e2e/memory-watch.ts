/** Samples the memory of processes while a load runs. */
import { usageOf } from "./process.ts";

export interface MemoryPeak {
  /**
   * The highest sum over the processes, in bytes: all that is resident, what is theirs alone, and
   * what has no file.
   */
  readonly resident: number;
  readonly anonymous: number;
  readonly withoutFile: number;
}

export interface MemoryWatch {
  /** Ends the watch and returns the peak; may be called again. */
  stop(): MemoryPeak;
}

const SAMPLE_MS = 100;

export function watchMemory(pids: () => readonly number[]): MemoryWatch {
  let resident = 0;
  let anonymous = 0;
  let withoutFile = 0;
  let failure: unknown;
  const timer = setInterval(() => {
    try {
      const usage = usageOf(pids());
      resident = Math.max(resident, usage.residentBytes);
      anonymous = Math.max(anonymous, usage.anonymousBytes);
      withoutFile = Math.max(withoutFile, usage.withoutFileBytes);
    } catch (error) {
      failure ??= error; // A process that is gone: the load fails too and says so better.
    }
  }, SAMPLE_MS);
  return {
    stop() {
      clearInterval(timer);
      if (resident === 0) throw new Error("no sample of memory was taken", { cause: failure });
      return { resident, anonymous, withoutFile };
    },
  };
}
