/**
 * Looks for damage before somebody reads it. Every hour a host reads the next part of what its
 * devices store, so that all of it was read within some days, and has damaged blocks written again
 * by whoever owns their object. How large a part is goes by the time since the last one, on the
 * device, so that hosts that are down now and then keep up. Once a day the copies of each object
 * are compared by their digests: by its owner, or, if nobody has it, by the host of its first good
 * copy, which takes it for that moment. When that was is in memory: who has just started does not
 * know, and compares within a few hours. Requests of clients come first; between two rounds
 * nothing runs.
 */
import { CodedError, marks } from "../base/index.ts";
import { findObject } from "../cluster/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import type { Links } from "../link/index.ts";
import { ObjectOwner } from "../object/index.ts";
import type { CopyComparison, OwnedObject, OwnerWorld, ResyncPace } from "../object/index.ts";
import type { Clock, Directory, Log, Timer } from "../ports/index.ts";
import { READ_THROUGH_BLOCKS } from "../store/index.ts";
import type { DamagedPlace, ReadThrough } from "../store/index.ts";
import { numberOf, textOf, valueOf } from "./component-server.ts";
import type { RepairBoard, RepairView } from "./repair-board.ts";

const ROUND_MS = 3_600_000;
/** What was written again is read when it has been destaged. */
const MENDED_MS = 60_000;
/** A host that has just started has better things to do. */
const FIRST_MS = 300_000;
/** After a round that took longer than it should. */
const PAUSE_MS = 60_000;
const DAY_MS = 24 * ROUND_MS;
/** That many hours' parts make a round at most: a host that was down has no rush for it. */
const CATCH_UP_ROUNDS = 3;
/** Volumes of which it is not known when their copies were compared have their turns in it. */
const UNKNOWN_TURNS_MS = 3 * ROUND_MS;
const ASK_MS = 30_000;

export interface ScrubCounters {
  blocksRead: number;
  blocksDamaged: number;
  blocksRepaired: number;
  /** Devices that were read to their end. */
  devicesRead: number;
  regionsCompared: number;
  regionsDiffered: number;
}

export interface ScrubEvent {
  readonly kind: "device-read-through" | "damage-mended" | "copies-differed";
  readonly level: "info" | "error";
  readonly message: string;
  readonly details: Readonly<Record<string, string | number>>;
}

type Reader = Pick<
  ReadThrough,
  | "blockCount"
  | "readUntilMs"
  | "read"
  | "save"
  | "knownDamaged"
  | "damagedPlaces"
  | "hurtCount"
  | "areMended"
>;

export interface ScrubDutyWorld {
  readonly clock: Clock;
  readonly log: Log;
  readonly directory: Directory;
  readonly clusterId: string;
  readonly hostId: string;
  readonly links: Pick<Links, "handle" | "call">;
  readonly board: Pick<RepairBoard, "view" | "volumes">;
  readonly pace: ResyncPace | undefined;
  /** Those of this host that take writes. */
  readonly deviceIds: () => readonly string[];
  readonly readThrough: (deviceId: string) => Reader | undefined;
  /** Objects that this host owns. */
  readonly owned: () => readonly OwnedObject[];
  readonly ownerWorld: () => OwnerWorld;
  readonly isLeaseAlive: () => boolean;
  readonly addEvent: (event: ScrubEvent) => void;
  /** How many times sooner all of it is due: trials last for minutes. 1 if absent. */
  readonly timesSooner?: number | undefined;
}

export class ScrubDuty {
  readonly counters: ScrubCounters = {
    blocksRead: 0,
    blocksDamaged: 0,
    blocksRepaired: 0,
    devicesRead: 0,
    regionsCompared: 0,
    regionsDiffered: 0,
  };
  readonly #world: ScrubDutyWorld;
  readonly #readers = new Map<string, Reader>();
  /** Objects, by when they were compared, or made, as far as this host knows. */
  readonly #comparedMs = new Map<string, number>();
  #hasLooked = false;
  #timer: Timer | undefined;
  #mendedTimer: Timer | undefined;
  #round: Promise<void> | undefined;
  #isClosed = false;

  constructor(world: ScrubDutyWorld) {
    this.#world = world;
    world.links.handle("scrub.repair", async ({ argument }) => ({
      result: await this.#repairHere(
        textOf(argument, "objectId"),
        textOf(argument, "componentId"),
        numberOf(argument, "blockIndex"),
        valueOf(argument, "isOwner") === true,
      ),
    }));
  }

  start(): void {
    this.#later(this.#soon(FIRST_MS));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#mendedTimer?.cancel();
    await this.#round;
  }

  #soon(ms: number): number {
    return ms / (this.#world.timesSooner ?? 1);
  }

  #later(delayMs: number): void {
    if (this.#isClosed) return;
    const { clock } = this.#world;
    this.#timer = clock.after(delayMs, () => {
      const begunMs = clock.nowMs();
      this.#round = this.round()
        .catch((error: unknown) => {
          if (!(error instanceof CodedError)) throw error;
          this.#world.log.write("info", `nothing is looked through: ${error.message}`);
        })
        .then(() => {
          const leftMs = this.#soon(ROUND_MS) - (clock.nowMs() - begunMs);
          this.#later(Math.max(leftMs, this.#soon(PAUSE_MS)));
        });
    });
  }

  /** Reads what is due, or what falls due in `spanMs`; compares what is due. */
  async round(spanMs?: number): Promise<void> {
    if (!this.#world.isLeaseAlive()) return;
    const { scrubDays, compareHours } = (await this.#world.board.view()).settings;
    if (scrubDays > 0)
      for (const deviceId of this.#world.deviceIds())
        await this.#readPart(deviceId, this.#soon(scrubDays * DAY_MS), spanMs);
    if (compareHours > 0) await this.compare(this.#soon(compareHours * ROUND_MS));
  }

  async #readPart(deviceId: string, cycleMs: number, spanMs?: number): Promise<void> {
    const reader = this.#readers.get(deviceId) ?? this.#world.readThrough(deviceId);
    if (reader === undefined) return;
    this.#readers.set(deviceId, reader);
    const nowMs = this.#world.clock.wallMs();
    const roundMs = this.#soon(ROUND_MS);
    // Clocks of people jump: never less than nothing is due, nor more than all of it.
    const behindMs = Math.min(
      Math.max(0, nowMs - (reader.readUntilMs ?? nowMs - roundMs)),
      cycleMs,
    );
    const dueMs = spanMs ?? Math.min(behindMs, CATCH_UP_ROUNDS * roundMs);
    const wanted = Math.ceil((reader.blockCount * dueMs) / cycleMs);
    let damaged = 0;
    let read = 0;
    while (read < wanted && !this.#isClosed) {
      marks.hit("a device was looked through for damage");
      await this.#turn();
      const part = await reader.read();
      read += part.blocksRead;
      damaged += part.damagedBlocks;
      this.counters.blocksRead += part.blocksRead;
      if (!part.isAtEnd) continue;
      this.counters.devicesRead++;
      this.#tellEnd(deviceId);
      break;
    }
    // What was not read, for the end of the device or of this host, stays due.
    const readMs = wanted === 0 ? dueMs : dueMs * Math.min(1, read / wanted);
    await reader.save(Math.min(nowMs, nowMs - behindMs + readMs));
    this.counters.blocksDamaged += damaged;
    if (damaged > 0) marks.hit("damage was found before somebody read it");
    // Clients may have found some, too.
    if (reader.knownDamaged > 0) await this.#repairAll(await reader.damagedPlaces());
    await this.#seeMended(deviceId, reader);
  }

  /** A slow pace gives a part of what is read at once: as many turns as it takes. */
  async #turn(): Promise<void> {
    const { pace } = this.#world;
    if (pace === undefined) return;
    for (let blocks = 0; blocks < READ_THROUGH_BLOCKS && !this.#isClosed;)
      blocks += await pace.turn(READ_THROUGH_BLOCKS - blocks);
  }

  /** Damage is over once what was written again reads well from the disk. */
  async #seeMended(deviceId: string, reader: Reader): Promise<void> {
    const { hurtCount } = reader;
    if (hurtCount === 0) return;
    if (await reader.areMended()) {
      this.#world.addEvent({
        kind: "damage-mended",
        level: "info",
        message: `${hurtCount} blocks of device ${deviceId.slice(0, 8)} that were damaged read well again`,
        details: { deviceId, blocks: hurtCount },
      });
      return;
    }
    if (this.#isClosed) return;
    this.#mendedTimer?.cancel();
    const delayMs = this.#soon(MENDED_MS);
    this.#mendedTimer = this.#world.clock.after(delayMs, () => void this.#lookAgain());
  }

  async #lookAgain(): Promise<void> {
    try {
      for (const [deviceId, reader] of this.#readers) {
        // Otherwise the next round looks, and has it written again before.
        if (reader.hurtCount > 0 && reader.knownDamaged === 0)
          await this.#seeMended(deviceId, reader);
      }
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      const what = `whether damage is mended is not known: ${error.message}`;
      this.#world.log.write("warning", what);
    }
  }

  #tellEnd(deviceId: string): void {
    const { blocksDamaged } = this.counters;
    this.#world.addEvent({
      kind: "device-read-through",
      level: "info",
      message:
        `device ${deviceId.slice(0, 8)} was read to its end; ` +
        `since this host started ${blocksDamaged} damaged blocks were found`,
      details: { deviceId, blocksDamaged },
    });
  }

  async #repairAll(places: readonly DamagedPlace[]): Promise<void> {
    for (const place of places) {
      if (this.#isClosed) return;
      try {
        if (!(await this.#repair(place))) continue;
        marks.hit("a damaged block was written again from a good copy");
        this.counters.blocksRepaired++;
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        const what = `a damaged block is not repaired yet: ${error.message}`;
        const { componentId, blockIndex } = place;
        this.#world.log.write("warning", what, { componentId, blockIndex });
      }
    }
  }

  /** By the object's owner; false if it is nobody's component any more, or has no other copy. */
  async #repair({ objectId, componentId, blockIndex }: DamagedPlace): Promise<boolean> {
    const { directory, clusterId, hostId, links } = this.#world;
    const stored = await findObject(directory, clusterId, objectId);
    if (stored === undefined) return false;
    const { owner } = stored.record;
    if (owner === undefined || owner === hostId)
      return await this.#repairHere(objectId, componentId, blockIndex, owner !== undefined);
    const argument = { objectId, componentId, blockIndex, isOwner: true };
    const options = { deadlineMs: ASK_MS };
    return (await links.call(owner, "scrub.repair", argument, options)).result === true;
  }

  async #repairHere(
    objectId: string,
    componentId: string,
    blockIndex: number,
    isOwner: boolean,
  ): Promise<boolean> {
    const owned = this.#world.owned().find((one) => one.objectId === objectId);
    if (owned !== undefined) return await owned.repairComponent(componentId, blockIndex);
    if (isOwner) return false;
    return await this.#asGuest(objectId, (owner) => owner.repairComponent(componentId, blockIndex));
  }

  async #asGuest<T>(objectId: string, work: (owner: ObjectOwner) => Promise<T>): Promise<T> {
    const world = { ...this.#world.ownerWorld(), isGuest: true };
    const owner = await ObjectOwner.take(world, objectId, false);
    try {
      return await work(owner);
    } finally {
      await owner.close();
    }
  }

  /** Those that were not compared for so long, as far as this host is to. */
  async compare(everyMs: number): Promise<void> {
    const view = await this.#world.board.view();
    const volumes = await this.#world.board.volumes();
    for (const record of volumes) {
      if (this.#isClosed) return;
      if (!this.#isDue(record, everyMs)) continue;
      try {
        await this.#compareOne(record, view);
      } catch (error) {
        // It is away, is taken meanwhile, or changes hands: it is looked at again in an hour.
        if (!(error instanceof CodedError)) throw error;
        const what = `copies of ${record.name} are not compared now: ${error.message}`;
        this.#world.log.write("info", what, { objectId: record.objectId });
      }
    }
    this.#hasLooked = true;
    const left = new Set(volumes.map(({ objectId }) => objectId));
    for (const objectId of this.#comparedMs.keys())
      if (!left.has(objectId)) this.#comparedMs.delete(objectId);
  }

  /** Or would be overdue at the next round. */
  #isDue({ objectId }: ObjectRecord, everyMs: number): boolean {
    const nowMs = this.#world.clock.nowMs();
    const roundMs = this.#soon(ROUND_MS);
    let since = this.#comparedMs.get(objectId);
    if (since === undefined) {
      // What appears while this host runs has just been made; of the rest it knows nothing.
      const untilMs = this.#hasLooked ? everyMs : roundMs + this.#turnOf(objectId);
      since = nowMs - Math.max(0, everyMs - untilMs);
      this.#comparedMs.set(objectId, since);
    }
    return nowMs - since + roundMs > everyMs;
  }

  /** The same on all hosts and after each start. */
  #turnOf(objectId: string): number {
    return (this.#soon(UNKNOWN_TURNS_MS) * Number.parseInt(objectId.slice(0, 4), 16)) / 0x1_00_00;
  }

  async #compareOne(record: ObjectRecord, view: RepairView): Promise<void> {
    const { objectId, owner, components } = record;
    const { hostId, owned } = this.#world;
    const first = components.find(
      (entry) => entry.state.kind === "active" && view.isReachable(entry.hostId),
    );
    const mine = owned().find((one) => one.objectId === objectId);
    let went: CopyComparison;
    if (mine !== undefined) went = await mine.compareCopies();
    else if (owner === undefined && first?.hostId === hostId)
      went = await this.#asGuest(objectId, (guest) => guest.compareCopies());
    else return;
    this.#comparedMs.set(objectId, this.#world.clock.nowMs());
    marks.hit("copies were compared in the background");
    this.counters.regionsCompared += went.regionsCompared;
    this.counters.regionsDiffered += went.regionsDiffered;
    if (went.regionsDiffered === 0) return;
    this.#world.addEvent({
      kind: "copies-differed",
      level: "error",
      message: `copies of ${record.name} differed in ${went.regionsDiffered} regions, and were made equal`,
      details: { objectId, regions: went.regionsDiffered },
    });
  }
}
