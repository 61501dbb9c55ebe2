/**
 * How fast components were made anew lately, all that were under way together: that is what tells
 * how long others will take, since they share devices, links and processors.
 */
import { CodedError } from "../base/index.ts";
import type { Links } from "../link/index.ts";
import type { ResyncState } from "../object/index.ts";
import type { Clock } from "../ports/index.ts";

/** What is smaller is over before it has a speed. */
const TIMED_BYTES_MIN = 2 ** 20;
/** Components that follow one another so soon are one piece of work, pauses included. */
const PAUSE_MS_MAX = 5000;
const ASK_MS = 2000;
const METHOD = "rebuild.speed";

export interface RebuildSpeedWorld {
  readonly clock: Pick<Clock, "nowMs">;
  readonly links: Pick<Links, "call" | "handle" | "peers">;
}

export class RebuildSpeed {
  readonly #world: RebuildSpeedWorld;
  /** From the beginning of the first to the end of the last that overlapped or followed soon. */
  #fromMs = 0;
  #toMs = -Infinity;
  #bytes = 0;

  constructor(world: RebuildSpeedWorld) {
    this.#world = world;
    world.links.handle(METHOD, async () => ({ result: this.#here ?? null }));
  }

  /** A component is done, just now. */
  made({ bytesNeeded, elapsedMs }: ResyncState): void {
    if (bytesNeeded < TIMED_BYTES_MIN || elapsedMs <= 0) return;
    const nowMs = this.#world.clock.nowMs();
    const beganMs = nowMs - elapsedMs;
    const isAlone = beganMs > this.#toMs + PAUSE_MS_MAX;
    this.#fromMs = isAlone ? beganMs : Math.min(this.#fromMs, beganMs);
    this.#bytes = isAlone ? bytesNeeded : this.#bytes + bytesNeeded;
    this.#toMs = nowMs;
  }

  /**
   * As owners on any host in reach saw it last; undefined as long as nothing of any size was made.
   */
  async bytesPerSecond(): Promise<number | undefined> {
    const up = this.#world.links.peers().filter(({ isUp }) => isUp);
    const there = await Promise.all(up.map(({ hostId }) => this.#of(hostId)));
    const known = [this.#here, ...there].filter((one) => one !== undefined);
    return known.toSorted((a, b) => a.ageMs - b.ageMs)[0]?.bytesPerSecond;
  }

  get #here(): MeasuredSpeed | undefined {
    if (this.#bytes === 0) return undefined;
    const bytesPerSecond = this.#bytes / ((this.#toMs - this.#fromMs) / 1000);
    return { bytesPerSecond, ageMs: this.#world.clock.nowMs() - this.#toMs };
  }

  /** Undefined, too, if the host does not answer, or not yet such questions. */
  async #of(hostId: string): Promise<MeasuredSpeed | undefined> {
    try {
      const answer = await this.#world.links.call(hostId, METHOD, {}, { deadlineMs: ASK_MS });
      return speedIn(answer.result);
    } catch (error) {
      if (error instanceof CodedError) return undefined;
      throw error;
    }
  }
}

interface MeasuredSpeed {
  readonly bytesPerSecond: number;
  readonly ageMs: number;
}

function speedIn(said: unknown): MeasuredSpeed | undefined {
  if (typeof said !== "object" || said === null) return undefined;
  const { bytesPerSecond, ageMs } = said as Partial<Record<keyof MeasuredSpeed, unknown>>;
  const isSpeed = typeof bytesPerSecond === "number" && bytesPerSecond > 0;
  return isSpeed && typeof ageMs === "number" ? { bytesPerSecond, ageMs } : undefined;
}
