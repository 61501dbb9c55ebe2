/**
 * How much data each component has, as the hosts in reach say: what is made in place of one needs
 * as much room. They are asked only while something has to be placed, and not more often than
 * devices tell the directory of their room.
 */
import { CodedError } from "../base/index.ts";
import type { Links } from "../link/index.ts";
import type { Clock } from "../ports/index.ts";
import type { LocalDevices } from "./component-maker.ts";

const FRESH_MS = 5000;
const ASK_MS = 2000;
const METHOD = "device.stored";

export interface StoredBytesWorld {
  readonly clock: Pick<Clock, "nowMs">;
  readonly links: Pick<Links, "call" | "handle" | "peers">;
  readonly devices: Pick<LocalDevices, "storedBytes">;
}

export class StoredBytes {
  readonly #world: StoredBytesWorld;
  #known: Promise<ReadonlyMap<string, number>> | undefined;
  #knownMs = 0;

  constructor(world: StoredBytesWorld) {
    this.#world = world;
    world.links.handle(METHOD, async () => ({ result: this.#here() }));
  }

  /** By component, in bytes before deduplication. Those of hosts that do not say are missing. */
  byComponent(): Promise<ReadonlyMap<string, number>> {
    const nowMs = this.#world.clock.nowMs();
    if (this.#known === undefined || nowMs - this.#knownMs >= FRESH_MS) {
      this.#known = this.#ask();
      this.#knownMs = nowMs;
    }
    return this.#known;
  }

  async #ask(): Promise<ReadonlyMap<string, number>> {
    const up = this.#world.links.peers().filter(({ isUp }) => isUp);
    const there = await Promise.all(up.map(({ hostId }) => this.#of(hostId)));
    return new Map([...there.flat(), ...this.#here()]);
  }

  #here(): readonly (readonly [string, number])[] {
    return this.#world.devices.storedBytes?.() ?? [];
  }

  /** Nothing, too, if the host does not answer, or not yet such questions. */
  async #of(hostId: string): Promise<readonly (readonly [string, number])[]> {
    try {
      const answer = await this.#world.links.call(hostId, METHOD, {}, { deadlineMs: ASK_MS });
      return Array.isArray(answer.result) ? answer.result.filter(isStored) : [];
    } catch (error) {
      if (error instanceof CodedError) return [];
      throw error;
    }
  }
}

function isStored(said: unknown): said is readonly [string, number] {
  if (!Array.isArray(said)) return false;
  const [componentId, bytes] = said as readonly unknown[];
  return typeof componentId === "string" && typeof bytes === "number" && bytes >= 0;
}
