/**
 * Repairs volumes that nobody uses. A host that holds a good copy of such a volume takes it, as a
 * guest, for as long as something of it has to be decided, to catch up, to be made anew or to leave
 * a device, and gives it back; whoever wants to use it meanwhile gets it at once.
 */
import { CodedError, errorText, marks } from "../base/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import { ObjectOwner } from "../object/index.ts";
import type { OwnerWorld } from "../object/index.ts";
import type { Clock, Log, Timer } from "../ports/index.ts";
import type { RepairBoard, RepairView } from "./repair-board.ts";
import type { RepairPolicy } from "./repair-policy.ts";

const ROUND_MS_MAX = 15_000;
const ROUND_MS_MIN = 1000;
/** After this without any progress a volume is given back, and left alone for a while. */
const STUCK_MS = 60_000;
const REST_MS = 120_000;
/** Whoever has asked for a volume takes it before it is looked at again. */
const YIELD_MS = 30_000;

export interface RepairPatrolWorld {
  readonly clock: Clock;
  readonly log: Log;
  readonly hostId: string;
  readonly board: RepairBoard;
  readonly policy: RepairPolicy;
  readonly ownerWorld: () => OwnerWorld;
  readonly isLeaseAlive: () => boolean;
  readonly isHostAlive: (hostId: string) => Promise<boolean>;
  /** Objects of which this host's devices hold transactions that nobody has decided. */
  readonly undecided: () => readonly string[];
  readonly settleRemovals: () => Promise<void>;
}

interface Repair {
  readonly owner: ObjectOwner;
  /** What was known of it when it last came further, and when that was. */
  known: string;
  knownMs: number;
}

export class RepairPatrol {
  readonly #world: RepairPatrolWorld;
  readonly #repairs = new Map<string, Repair>();
  /** Objects that are left alone until then. */
  readonly #restUntilMs = new Map<string, number>();
  /** As of this round. */
  #undecided: ReadonlySet<string> = new Set();
  #timer: Timer | undefined;
  #round: Promise<void> | undefined;
  #isClosed = false;

  constructor(world: RepairPatrolWorld) {
    this.#world = world;
  }

  start(): void {
    this.#later(ROUND_MS_MIN);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#round;
    await Promise.all([...this.#repairs.keys()].map((objectId) => this.#give(objectId, 0)));
  }

  /** Those that are being repaired here. */
  owners(): readonly ObjectOwner[] {
    return [...this.#repairs.values()].map(({ owner }) => owner);
  }

  /** Somebody wants to use the object. False if it is not here for its repair. */
  async leave(objectId: string): Promise<boolean> {
    this.#restUntilMs.set(objectId, this.#world.clock.nowMs() + YIELD_MS);
    if (!this.#repairs.has(objectId)) return false;
    await this.#give(objectId, YIELD_MS);
    return true;
  }

  #later(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = this.#world.clock.after(delayMs, () => {
      this.#round = this.#look()
        .catch((error: unknown) => {
          // The directory is away, or this host from it: the next round will tell.
          this.#world.log.write("info", `volumes are not looked after: ${errorText(error)}`);
          return ROUND_MS_MAX;
        })
        .then((nextMs) => this.#later(nextMs));
    });
  }

  /** Returns when to look again. */
  async #look(): Promise<number> {
    const { board, isLeaseAlive } = this.#world;
    if (!isLeaseAlive()) return ROUND_MS_MAX;
    await this.#world.settleRemovals();
    this.#undecided = new Set(this.#world.undecided());
    const view = await board.view();
    for (const objectId of this.#repairs.keys()) await this.#review(objectId, view);
    const volumes = (await board.volumes()).toSorted((a, b) => view.copiesOf(a) - view.copiesOf(b));
    for (const record of volumes) {
      if (this.#isClosed || this.#repairs.size >= view.settings.rebuildsAtOnce) break;
      if (await this.#isMine(record, view)) await this.#take(record);
    }
    if (this.#repairs.size > 0) return ROUND_MS_MIN;
    return Math.min(Math.max(view.settings.repairDelayMs / 4, ROUND_MS_MIN), ROUND_MS_MAX);
  }

  /**
   * Whether it needs repair, nobody uses it, and of its good copies the first one is here, or what
   * is here of it holds up other volumes.
   */
  async #isMine(record: ObjectRecord, view: RepairView): Promise<boolean> {
    const { clock, hostId, isHostAlive } = this.#world;
    const { objectId, owner, components } = record;
    const first = components.find(
      (entry) => entry.state.kind === "active" && view.isReachable(entry.hostId),
    );
    if (owner === hostId || this.#repairs.has(objectId)) return false;
    if (first?.hostId !== hostId && !this.#undecided.has(objectId)) return false;
    const restUntilMs = this.#restUntilMs.get(objectId) ?? 0;
    if (clock.nowMs() < restUntilMs) return false;
    this.#restUntilMs.delete(objectId);
    if (!(await this.#needsRepair(record, view))) return false;
    return owner === undefined || !(await isHostAlive(owner));
  }

  async #needsRepair(record: ObjectRecord, view: RepairView): Promise<boolean> {
    if (record.change !== undefined || this.#undecided.has(record.objectId)) return true;
    for (const entry of record.components) {
      const { state, hostId, componentId } = entry;
      if (view.isGone(entry) || view.isLeaving(record, entry)) return true;
      // What can be reached can catch up.
      if (state.kind !== "active" && view.isReachable(hostId)) return true;
      if (await this.#world.policy.isGivenUp(record, componentId)) return true;
    }
    return false;
  }

  async #take({ objectId, name }: ObjectRecord): Promise<void> {
    const { ownerWorld, clock, log } = this.#world;
    if (this.#undecided.has(objectId)) marks.hit("an unused volume was decided");
    try {
      const owner = await ObjectOwner.take({ ...ownerWorld(), isGuest: true }, objectId, false);
      this.#repairs.set(objectId, { owner, known: "", knownMs: clock.nowMs() });
      owner.onStopped(() => {
        this.#give(objectId, YIELD_MS).catch((error: unknown) => this.#notGiven(objectId, error));
      });
      log.write("info", `${name} is taken for its repair`, { objectId });
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.#restUntilMs.set(objectId, clock.nowMs() + YIELD_MS);
      log.write("info", `${name} is not repaired now: ${error.message}`, { objectId });
    }
  }

  /** Gives back what is whole, and what does not come further. */
  async #review(objectId: string, view: RepairView): Promise<void> {
    const repair = this.#repairs.get(objectId);
    if (repair === undefined) return;
    const nowMs = this.#world.clock.nowMs();
    const { record } = repair.owner;
    if (!(await this.#needsRepair(record, view))) {
      await this.#give(objectId, 0);
      return;
    }
    const known = JSON.stringify(repair.owner.state.components);
    if (known !== repair.known) {
      repair.known = known;
      repair.knownMs = nowMs;
    } else if (nowMs - repair.knownMs >= STUCK_MS) {
      await this.#give(objectId, REST_MS);
    }
  }

  async #give(objectId: string, restMs: number): Promise<void> {
    const repair = this.#repairs.get(objectId);
    if (repair === undefined) return;
    this.#repairs.delete(objectId);
    const { clock } = this.#world;
    if (restMs > 0) this.#restUntilMs.set(objectId, clock.nowMs() + restMs);
    try {
      await repair.owner.close();
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.#notGiven(objectId, error);
    }
  }

  #notGiven(objectId: string, error: unknown): void {
    const what = `a volume is not given back: ${errorText(error)}`;
    this.#world.log.write("warning", what, { objectId });
  }
}
