/** The store's numbers, once everything that was written has left the journal. */
import { setTimeout as pause } from "node:timers/promises";

/** Somebody who runs the operator's commands. */
export interface StatsSource {
  cli<T>(args: readonly string[]): Promise<T>;
}

export interface Stats {
  readonly logicalBytes: number;
  readonly uniqueBytes: number;
  readonly physicalBytes: number;
  readonly dedupRatio: number;
  readonly journal: Readonly<Record<string, number>>;
}

const DESTAGE_MS_MAX = 120_000;
const POLL_MS = 200;

/** Waits until the journal holds no block that is not in the block store. */
export async function destagedStats(host: StatsSource): Promise<Stats> {
  const deadline = performance.now() + DESTAGE_MS_MAX;
  for (;;) {
    const stats = await host.cli<Stats>(["stats"]);
    const waiting = stats.journal["pendingBytes"];
    if (waiting === undefined) throw new Error(`no journal.pendingBytes: ${JSON.stringify(stats)}`);
    if (waiting === 0) return stats;
    if (performance.now() > deadline) throw new Error(`${waiting} bytes are still in the journal`);
    await pause(POLL_MS);
  }
}
