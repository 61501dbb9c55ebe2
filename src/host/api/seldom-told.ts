/**
 * For what may happen many times a second and is to be told now and then: in events, in the audit
 * log.
 */
import type { Clock } from "../../ports/index.ts";

/** Keys beyond that count as one, so that those of a client's choice take a bounded room. */
const KEYS_MAX = 1024;
const SHARED_KEY = "";

export class SeldomTold {
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #everyMs: number;
  readonly #told = new Map<string, { atMs: number; untoldCount: number }>();

  constructor(clock: Pick<Clock, "nowMs">, everyMs: number) {
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  /**
   * How often it has happened since it was told last, if it is to be told now; undefined if it was
   * told a short while ago. What is told by another key counts by itself.
   */
  due(wanted: string): number | undefined {
    const nowMs = this.#clock.nowMs();
    const key = this.#told.has(wanted) || this.#hasRoom(nowMs) ? wanted : SHARED_KEY;
    const told = this.#told.get(key);
    if (told !== undefined && nowMs - told.atMs < this.#everyMs) {
      told.untoldCount++;
      return undefined;
    }
    this.#told.set(key, { atMs: nowMs, untoldCount: 0 });
    return told?.untoldCount ?? 0;
  }

  #hasRoom(nowMs: number): boolean {
    // What has not happened for so long is not remembered.
    for (const [one, { atMs }] of this.#told)
      if (nowMs - atMs >= this.#everyMs) this.#told.delete(one);
    return this.#told.size < KEYS_MAX;
  }
}
