/**
 * Whether what masters say about hosts that have lost their leases is true: that nobody heard one
 * in storage any more, or that somebody did. Who hears whom is told with some delay, so only what
 * was so for long is held against them.
 */
import type { VmRecord } from "../cluster/index.ts";

/** From a change to a master that knows of it, on the way over a host that was cut off before. */
const TOLD_MS = 15_000;
const SAID = /the lease of host (\S+) has ended, and (nobody|.+?) (?:hears|heard) it in storage/;

interface Pair {
  readonly hearer: string;
  readonly heard: string;
  isHeard: boolean;
  sinceMs: number;
}

export class HeartbeatCheck {
  readonly #nowMs: () => number;
  readonly #hears: (hearer: string, heard: string) => boolean;
  readonly #pairs: readonly Pair[];
  /** By machine, the newest decision that was looked at. */
  readonly #seen = new Map<string, number>();

  /** `hears`: now, and can tell the directory of it. */
  constructor(
    hosts: readonly string[],
    nowMs: () => number,
    hears: (hearer: string, heard: string) => boolean,
  ) {
    this.#nowMs = nowMs;
    this.#hears = hears;
    this.#pairs = hosts.flatMap((hearer) =>
      hosts
        .filter((heard) => heard !== hearer)
        .map((heard) => ({ hearer, heard, isHeard: false, sinceMs: nowMs() })),
    );
  }

  /** Who hears whom may have changed. */
  look(): void {
    for (const pair of this.#pairs) {
      const isHeard = this.#hears(pair.hearer, pair.heard);
      if (isHeard === pair.isHeard) continue;
      pair.isHeard = isHeard;
      pair.sinceMs = this.#nowMs();
    }
  }

  /** Of the newest decision about the machine; undefined if it may be true. */
  whatIsWrong({ name, history }: VmRecord): string | undefined {
    const last = history.at(-1);
    if (last === undefined || this.#seen.get(name) === last.timeMs) return undefined;
    this.#seen.set(name, last.timeMs);
    const [, host, by] = SAID.exec(last.because) ?? [];
    if (host === undefined) return undefined;
    const nowMs = this.#nowMs();
    const pairs = this.#pairs.filter(({ heard }) => heard === host);
    const isSettled = ({ sinceMs }: Pair): boolean => nowMs - sinceMs > TOLD_MS;
    const surely = pairs.find((pair) => pair.isHeard && isSettled(pair));
    if (by === "nobody" && surely !== undefined)
      return `${host} counts as failed, and ${surely.hearer} hears it in storage`;
    if (by !== "nobody" && pairs.every((pair) => !pair.isHeard && isSettled(pair)))
      return `${host} counts as isolated, and nobody has heard it in storage for long`;
    return undefined;
  }
}
