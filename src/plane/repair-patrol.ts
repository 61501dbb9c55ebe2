/**
 * Repairs volumes that nobody uses. It looks whenever something may call for it, and now and then
 * anyway. A host that holds a good copy of such a volume takes it, as a
 * guest, for as long as something of it has to be decided, to catch up, to be made anew or to leave
 * a device, and gives it back; whoever wants to use it meanwhile gets it at once.
 */
import { CodedError, errorText, marks } from "../base/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import { ObjectOwner, releaseLeftover } from "../object/index.ts";
import type { OwnerState, OwnerWorld } from "../object/index.ts";
import type { Clock, Log, Timer } from "../ports/index.ts";
import { byLineage } from "./lineage-order.ts";
import type { Ownerships } from "./ownerships.ts";
import type { RepairListener, RepairOccasions } from "./repair-occasions.ts";
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
  readonly ownerships: Ownerships;
  readonly occasions: (listener: RepairListener) => RepairOccasions;
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
  readonly #taking = new Map<string, Promise<void>>();
  /** Objects that are left alone until then. */
  readonly #restUntilMs = new Map<string, number>();
  /** Objects that could not be taken: until then, or until a host is in reach again. */
  readonly #failedUntilMs = new Map<string, number>();
  /** Objects that somebody has asked for and is to have first: until then. */
  readonly #yieldUntilMs = new Map<string, number>();
  /** Objects that were given back here, which is no reason to take them again. */
  readonly #given = new Set<string>();
  readonly #occasions: RepairOccasions;
  #lookedMs = -ROUND_MS_MIN;
  /** Something has happened since the look that is under way began. */
  #isWoken = false;
  /** As of this round. */
  #undecided: ReadonlySet<string> = new Set();
  #timer: Timer | undefined;
  #round: Promise<void> | undefined;
  #isLooking = false;
  #isClosed = false;

  constructor(world: RepairPatrolWorld) {
    this.#world = world;
    this.#occasions = world.occasions({
      onOccasion: () => this.wake(),
      onReleased: ({ objectId }) => {
        // Whoever was to have it has had it.
        if (!this.#given.delete(objectId)) this.#yieldUntilMs.delete(objectId);
      },
    });
  }

  start(): void {
    this.#occasions.start();
    this.#later(ROUND_MS_MIN);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#occasions.close();
    this.#timer?.cancel();
    await this.#round;
    await Promise.all([...this.#repairs.keys()].map((objectId) => this.#give(objectId, 0)));
  }

  /** Those that are being repaired here. */
  owners(): readonly ObjectOwner[] {
    return [...this.#repairs.values()].map(({ owner }) => owner);
  }

  /** Something has happened: looks at once, but not more often than once a second. */
  wake(): void {
    if (this.#isClosed || this.#timer === undefined) return;
    this.#isWoken = true;
    // A look that is under way may have read what is old now; another one follows.
    if (this.#isLooking) return;
    this.#timer.cancel();
    this.#later(this.#lookedMs + ROUND_MS_MIN - this.#world.clock.nowMs());
  }

  /** What could not be taken for want of a host is tried again: it may hold up others' writes. */
  hostReached(): void {
    this.#failedUntilMs.clear();
    this.wake();
  }

  /** Somebody wants to use the object. False if somebody uses it here. */
  async leave(objectId: string): Promise<boolean> {
    this.#yieldUntilMs.set(objectId, this.#world.clock.nowMs() + YIELD_MS);
    await this.#taking.get(objectId);
    if (!this.#repairs.has(objectId)) return await this.#releaseLeftover(objectId);
    await this.#give(objectId, 0);
    return true;
  }

  #later(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = this.#world.clock.after(Math.max(0, delayMs), () => {
      this.#isLooking = true;
      this.#lookedMs = this.#world.clock.nowMs();
      const isWoken = this.#isWoken;
      this.#isWoken = false;
      this.#round = this.#look(isWoken)
        .catch((error: unknown) => {
          // The directory is away, or this host from it: the next round will tell.
          this.#world.log.write("info", `volumes are not looked after: ${errorText(error)}`);
          return ROUND_MS_MAX;
        })
        .then((nextMs) => {
          this.#isLooking = false;
          this.#later(this.#isWoken ? Math.min(nextMs, ROUND_MS_MIN) : nextMs);
        });
    });
  }

  /** Returns when to look again. */
  async #look(isWoken: boolean): Promise<number> {
    const { board, isLeaseAlive } = this.#world;
    if (!isLeaseAlive()) return ROUND_MS_MAX;
    await this.#world.settleRemovals();
    this.#undecided = new Set(this.#world.undecided());
    const view = await (isWoken ? board.fresh() : board.view());
    for (const objectId of this.#repairs.keys()) await this.#review(objectId, view);
    for (const { objectId, owner } of await board.volumes())
      if (owner === this.#world.hostId) await this.#releaseLeftover(objectId);
    const volumes = (await board.volumes())
      .filter((record) => this.#mayBeMine(record, view))
      .toSorted((a, b) => view.copiesOf(a) - view.copiesOf(b) || byLineage(a, b));
    for (const record of volumes) {
      if (this.#isClosed || this.#repairs.size >= view.settings.rebuildsAtOnce) break;
      if (await this.#isMine(record, view)) await this.#takenOver(record);
    }
    if (this.#repairs.size > 0) return ROUND_MS_MIN;
    return Math.min(Math.max(view.settings.repairDelayMs / 4, ROUND_MS_MIN), ROUND_MS_MAX);
  }

  /**
   * Whether it needs repair, nobody uses it, and of its good copies the first one is here, or what
   * is here of it holds up other volumes.
   */
  async #isMine(record: ObjectRecord, view: RepairView): Promise<boolean> {
    const { clock, isHostAlive } = this.#world;
    const { objectId, owner } = record;
    if (!this.#mayBeMine(record, view)) return false;
    for (const until of [this.#restUntilMs, this.#failedUntilMs, this.#yieldUntilMs]) {
      if (clock.nowMs() < (until.get(objectId) ?? 0)) return false;
      until.delete(objectId);
    }
    if (!(await this.#needsRepair(record, view))) return false;
    return owner === undefined || !(await isHostAlive(owner));
  }

  /** What tells most of all volumes apart from those of this host, and waits for nothing. */
  #mayBeMine({ objectId, owner, components }: ObjectRecord, view: RepairView): boolean {
    const { hostId } = this.#world;
    if (owner === hostId || this.#repairs.has(objectId)) return false;
    const first = components.find(
      ({ state, hostId: holder }) => state.kind === "active" && view.isReachable(holder),
    );
    return first?.hostId === hostId || this.#undecided.has(objectId);
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

  /** Whoever asks for it meanwhile waits for that. */
  async #takenOver(record: ObjectRecord): Promise<void> {
    const { objectId } = record;
    const taking = this.#take(record);
    this.#taking.set(objectId, taking);
    await taking.finally(() => this.#taking.delete(objectId));
  }

  async #take({ objectId, name }: ObjectRecord): Promise<void> {
    const { ownerWorld, clock, log } = this.#world;
    if (this.#undecided.has(objectId)) marks.hit("an unused volume was decided");
    try {
      const owner = await ObjectOwner.take({ ...ownerWorld(), isGuest: true }, objectId, false);
      this.#repairs.set(objectId, { owner, known: "", knownMs: clock.nowMs() });
      owner.onStopped(() => {
        this.#yieldUntilMs.set(objectId, clock.nowMs() + YIELD_MS);
        this.#give(objectId, 0).catch((error: unknown) => this.#notGiven(objectId, error));
      });
      log.write("info", `${name} is taken for its repair`, { objectId });
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.#failedUntilMs.set(objectId, clock.nowMs() + YIELD_MS);
      log.write("info", `${name} is not repaired now: ${error.message}`, { objectId });
    }
  }

  /** False if somebody here has the object, or may have it in a moment. */
  async #releaseLeftover(objectId: string): Promise<boolean> {
    const { ownerWorld, ownerships } = this.#world;
    return await releaseLeftover(ownerWorld(), objectId, () => ownerships.has(objectId));
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
    const known = progressOf(repair.owner.state);
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
    this.#given.add(objectId);
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

/** What changes as a repair goes on. That room comes and goes on devices that are full does not. */
function progressOf({ components }: OwnerState): string {
  const known = components.map(({ blockedReason, ...rest }) =>
    blockedReason?.startsWith("no device") === true ? rest : { ...rest, blockedReason },
  );
  return JSON.stringify(known);
}
