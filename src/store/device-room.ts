/**
 * What may enter a device, and when destage runs: the two sides of one budget. Journal memory is
 * bounded, and every journalled block may need a block of its own, so a write is admitted only
 * while both last.
 *
 * Destage works best in large rounds: it starts when journal memory is half full, when a writer
 * waits, or when things have been quiet for a while.
 */
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { Timer } from "../ports/index.ts";
import type { Transaction } from "./component.ts";
import type { Destager } from "./destager.ts";
import type { DeviceState } from "./device-state.ts";
import { reclaimableBytes } from "./device-stats.ts";
import type { Reclaimer } from "./reclaimer.ts";
import type { Admission } from "./store-component.ts";

/** Room that is left to the metadata store and the file system; less on small devices. */
const FILE_SYSTEM_RESERVE_BYTES_MAX: number = 64 << 20;
const FILE_SYSTEM_RESERVE_SHARE = 1 / 16;
/** Admitted blocks after which the file system is asked again how much room it has. */
const SAMPLE_BLOCKS = 4096;
/** Destage begins when journal memory is this full. */
const HIGH_WATER_SHARE = 0.5;
/**
 * Rounds follow each other while at least this much is left: small rounds cost as much as large.
 */
const LOW_WATER_SHARE = 0.4;
const QUIET_DELAY_MS = 500;
/** How often writes that found the file system full are tried again, and for how long. */
const SPACE_TRY_MS = 250;
const SPACE_TRIES_MAX = 120;

export class DeviceRoom {
  readonly #state: DeviceState;
  readonly #destager: Destager;
  readonly #reclaimer: Reclaimer;
  #waiting: (() => void)[] = [];
  #quietTimer: Timer | undefined;
  #spaceTimer: Timer | undefined;
  #availableBlocks = 0;
  #admittedSinceSample = 0;
  #closed = false;

  constructor(state: DeviceState, destager: Destager, reclaimer: Reclaimer) {
    this.#state = state;
    this.#destager = destager;
    this.#reclaimer = reclaimer;
    this.#sampleSpace();
    state.journal.placed.onStagingRoom(() => {
      if (this.#waiting.length > 0) this.wake();
    });
    state.journal.placedWrites.listen(
      () => this.#awaitSpace(),
      () => this.#spaceCame(),
    );
  }

  admit(kind: Transaction["kind"], blockCount: number): Admission {
    const { journal, pending } = this.#state;
    if (journal.hasFailed || this.#closed) return "write-error";
    if (this.#destager.isOutOfSpace || journal.placedWrites.isShort) return "no-space";
    if (!pending.hasRoom(kind, blockCount)) return this.#later();
    if (kind !== "data") return "taken";
    const { placed } = journal;
    if (placed.takes(blockCount)) {
      if (!placed.hasSlots(blockCount)) return this.#later();
      // Room comes as soon as what is under way is durable: no need for destage.
      if (!placed.hasStaging(blockCount)) return "later";
    }
    this.#admittedSinceSample += blockCount;
    if (this.#admittedSinceSample >= SAMPLE_BLOCKS) this.#sampleSpace();
    const wanted = journal.payloadBlocksHeld + blockCount;
    if (wanted <= this.#freeBlocks()) return "taken";
    // The last look at the file system may be old.
    this.#sampleSpace();
    if (wanted <= this.#freeBlocks()) return "taken";
    // What waits in the journal may turn out to be duplicates: find out before saying no.
    return this.#holdsPayload || this.#destager.isRunning ? this.#later() : "no-space";
  }

  get #holdsPayload(): boolean {
    const { journal } = this.#state;
    return journal.payloadBlocksHeld > 0 || journal.placed.used > 0;
  }

  /** Blocks that both the space map and the file system have room for. */
  #freeBlocks(): number {
    const { space } = this.#state;
    return Math.min(space.freeBlocks, this.#availableBlocks) + space.quarantinedBlocks;
  }

  #later(): Admission {
    this.#destager.start();
    return "later";
  }

  #sampleSpace(): void {
    this.#admittedSinceSample = 0;
    const { disk } = this.#state;
    const share = disk.sizeBytes * FILE_SYSTEM_RESERVE_SHARE;
    const reserve = Math.min(FILE_SYSTEM_RESERVE_BYTES_MAX, share);
    const available = disk.availableBytes() + reclaimableBytes(this.#state) - reserve;
    this.#availableBlocks = Math.max(0, Math.floor(available / BLOCK_SIZE_BYTES));
  }

  /** Calls back once when a refused transaction is worth trying again. */
  onRoom(callback: () => void): void {
    this.#waiting.push(callback);
    // Nobody may be left waiting for a destage that is not under way.
    this.#destager.start();
  }

  /** Memory or space came free, or it is certain that none will. */
  wake(): void {
    this.#sampleSpace();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const callback of waiting) callback();
  }

  /** Whether another destage round should follow at once. */
  get wantsDestage(): boolean {
    return this.#waiting.length > 0 || this.#fullness() >= LOW_WATER_SHARE;
  }

  /** Transactions were decided: they may be destaged. */
  decided(): void {
    if (this.#destager.isRunning || this.#closed) return;
    const isUrgent = this.#waiting.length > 0 || this.#fullness() >= HIGH_WATER_SHARE;
    if (isUrgent) this.#destager.start();
    else this.#awaitQuiet();
  }

  destageEnded(): void {
    // What is held is not decided yet: its decision starts the next round. Waking anybody before
    // that would go round in circles.
    const { journal } = this.#state;
    if (!this.#holdsPayload) this.wake();
    const isBehind = journal.destagedFrame < journal.durableFrame;
    // Blocks that are free will be written again while the load lasts: punching them costs twice.
    if (!isBehind) this.#reclaimer.consider();
    else if (!journal.hasFailed && !this.#closed) this.#awaitQuiet();
  }

  /** How much of the journal's memory, or of the backlog it may have, is taken, from 0 to 1. */
  #fullness(): number {
    const { journal } = this.#state;
    const held = journal.payloadBlocksHeld / (journal.memorySegments * journal.segmentBlocks);
    // The segment being filled never comes free.
    const backlog = journal.placed.used / journal.placed.capacity;
    return Math.max(held, (journal.usedSegments - 1) / journal.memorySegments, backlog);
  }

  /** Destages what is left once some time has passed. */
  #awaitQuiet(): void {
    this.#quietTimer ??= this.#state.clock.after(QUIET_DELAY_MS, () => {
      this.#quietTimer = undefined;
      if (!this.#closed) void this.#destager.drain();
    });
  }

  /**
   * The file system has filled under writes that were let in. They wait for a while: somebody may
   * make room, and a journal that has failed takes nothing until the device is opened again.
   */
  #awaitSpace(): void {
    this.#state.emit({
      kind: "no-space",
      level: "error",
      message: "the file system of the device is full; writes under way wait for space",
      details: { freeBlocks: this.#state.space.freeBlocks },
    });
    this.#trySpaceLater(SPACE_TRIES_MAX);
    // Whoever waits to be let in is refused instead.
    this.wake();
  }

  #trySpaceLater(triesLeft: number): void {
    const { clock, journal } = this.#state;
    this.#spaceTimer = clock.after(SPACE_TRY_MS, () => {
      if (!journal.placedWrites.isShort) return;
      if (triesLeft === 0) return journal.fail();
      journal.placedWrites.retry();
      this.#trySpaceLater(triesLeft - 1);
    });
  }

  #spaceCame(): void {
    this.#spaceTimer?.cancel();
    this.#state.emit({
      kind: "space-available",
      level: "info",
      message: "the device has space again",
      details: {},
    });
    this.wake();
  }

  close(): void {
    this.#closed = true;
    this.#quietTimer?.cancel();
    this.#spaceTimer?.cancel();
  }
}
