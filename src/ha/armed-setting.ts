/**
 * Whether high availability is armed, as the directory said last: a host that does not hear from it
 * goes by that. A watch tells of changes; it is read again now and then anyway, but not at each of
 * the changes of machines, which come in rows.
 *
 * A host that goes by "disarmed" lets machines run on without a lease, also when others have armed
 * it meanwhile and the host does not hear of it. So it says so before, in a key that outlives the
 * lease, and takes the key back when its machines live by the lease again. While the key is there
 * nobody starts them elsewhere.
 */
import { directoryKeys, readHaSettings } from "../cluster/index.ts";
import type { Clock, Directory } from "../ports/index.ts";
import type { UnderRules } from "./ha-rules.ts";

const KNOWN_MS = 1000;
/** A write whose outcome nobody has learnt may come late. */
const UNBOUND_KNOWN_MS = 60_000;

export interface ArmedSettingWorld extends UnderRules {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly hostId: string;
  readonly clock: Clock;
}

export interface ArmedSettingHooks {
  /** Whether this host's lease lives. */
  readonly isAlive: () => boolean;
  /** Resolves when machines execute no longer than the lease lives. */
  readonly bind: () => Promise<void>;
}

export class ArmedSetting {
  readonly #world: ArmedSettingWorld;
  readonly #hooks: ArmedSettingHooks;
  #isArmed = true;
  /** Nothing has told of a change since. */
  #readMs = -Infinity;
  /** The key was written since this host has last begun to take it back. */
  #isUnbound = false;
  #boundMs = -Infinity;

  constructor(world: ArmedSettingWorld, hooks: ArmedSettingHooks) {
    this.#world = world;
    this.#hooks = hooks;
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
      const { settings } = await readHaSettings(directory, clusterId);
      if (settings.isArmed) await this.#bind();
      else await this.#unbind();
    } catch (error) {
      this.changed();
      throw error;
    }
  }

  async #unbind(): Promise<void> {
    const { directory, clusterId, hostId } = this.#world;
    this.#boundMs = -Infinity;
    if (!this.#isUnbound && this.#world.rules?.isUnboundTold !== false) {
      // Always anew: a deletion that comes late is of an older revision.
      const key = directoryKeys.vmUnbound(clusterId, hostId);
      await directory.transact([], [{ kind: "put", key, value: hostId }]);
      this.#isUnbound = true;
    }
    // If the lease had ended before, its machines might have been given to others by then.
    if (this.#hooks.isAlive()) this.#isArmed = false;
  }

  async #bind(): Promise<void> {
    const { directory, clusterId, hostId, clock } = this.#world;
    this.#isArmed = true;
    const nowMs = clock.nowMs();
    if (nowMs - this.#boundMs < UNBOUND_KNOWN_MS) return;
    await this.#hooks.bind();
    this.#isUnbound = false;
    const key = directoryKeys.vmUnbound(clusterId, hostId);
    const found = await directory.get(key);
    if (found !== undefined)
      await directory.transact([{ key, revision: found.revision }], [{ kind: "delete", key }]);
    this.#boundMs = nowMs;
  }
}
