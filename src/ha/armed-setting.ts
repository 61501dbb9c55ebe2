/**
 * Whether high availability is armed, as the directory said last: a host that does not hear from it
 * goes by that. A watch tells of changes; it is read again now and then anyway, but not at each of
 * the changes of machines, which come in rows.
 */
import { readHaSettings } from "../cluster/index.ts";
import type { Clock, Directory } from "../ports/index.ts";

const KNOWN_MS = 1000;

export interface ArmedSettingWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly clock: Clock;
}

export class ArmedSetting {
  readonly #world: ArmedSettingWorld;
  #isArmed = true;
  /** Nothing has told of a change since. */
  #readMs = -Infinity;

  constructor(world: ArmedSettingWorld) {
    this.#world = world;
  }

  get isArmed(): boolean {
    return this.#isArmed;
  }

  /** Or may have been: it is read at the next look. */
  changed(): void {
    this.#readMs = -Infinity;
  }

  /** Fails as the directory does. */
  async look(): Promise<void> {
    const { directory, clusterId, clock } = this.#world;
    const nowMs = clock.nowMs();
    if (nowMs - this.#readMs < KNOWN_MS) return;
    // What is told of while it is read may be newer than the answer.
    this.#readMs = nowMs;
    try {
      this.#isArmed = (await readHaSettings(directory, clusterId)).settings.isArmed;
    } catch (error) {
      this.changed();
      throw error;
    }
  }
}
