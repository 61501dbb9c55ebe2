/**
 * A volume as its users know it, by its name: behind that is another object when it has been rolled
 * back. And snapshots, of which somebody may ask later what they hold.
 */
import { assert, SECTOR_SIZE_BYTES } from "../base/index.ts";
import type { VolumePlan } from "./trial-plan.ts";
import { VolumeHistory } from "./volume-history.ts";
import type { InitialContents } from "./volume-history.ts";

export class TrialVolume {
  readonly plan: VolumePlan;
  objectId: string;
  /** Of the object that the name stands for now. */
  history: VolumeHistory;
  /** All of them, the oldest first. */
  readonly histories: VolumeHistory[];
  /** Its operator has taken it out of use: nobody asks anything of it. */
  isHeld = false;
  /** By object: of what the volume may have become a copy, without anybody having said so. */
  readonly successors: Map<string, TrialSnapshot> = new Map();

  constructor(plan: VolumePlan, initial?: InitialContents) {
    this.plan = plan;
    this.objectId = plan.objectId;
    this.history = new VolumeHistory(initial);
    this.histories = [this.history];
  }

  get name(): string {
    return this.plan.name;
  }

  get sectorCount(): number {
    return this.plan.sizeBytes / SECTOR_SIZE_BYTES;
  }

  /** The name stands for this object; true if it is another one than before. */
  becomes(objectId: string): boolean {
    if (objectId === this.objectId) return false;
    const source = this.successors.get(objectId);
    assert(source !== undefined, `${this.name} is an object that nobody has made: ${objectId}`);
    this.objectId = objectId;
    this.history = new VolumeHistory((sector) => source.contents[sector]);
    this.histories.push(this.history);
    return true;
  }
}

/**
 * "asked": nobody knows whether it was taken. "removing": it was to be deleted, and may be there.
 */
export type SnapshotState = "asked" | "taken" | "removing" | "gone";

export class TrialSnapshot {
  readonly volume: TrialVolume;
  /** Of the object that it is taken of. */
  readonly history: VolumeHistory;
  readonly name: string;
  readonly from: number;
  until: number = Infinity;
  state: SnapshotState = "asked";
  objectId = "";
  /** By sector, as far as somebody has read. */
  readonly contents: (number | undefined)[];
  /** Others begin as this one: what it holds has to be known in the end. */
  isNeeded = false;

  constructor(volume: TrialVolume, name: string) {
    this.volume = volume;
    this.history = volume.history;
    this.name = name;
    this.from = this.history.moment();
    this.contents = Array.from({ length: volume.sectorCount }, () => undefined);
  }

  get isKnown(): boolean {
    return this.contents.every((content) => content !== undefined);
  }

  taken(): void {
    this.state = "taken";
    this.until = this.history.moment();
  }

  /** Somebody has read: a sector that held something else before, if there is one. */
  saw(firstSector: number, contents: readonly number[]): number | undefined {
    for (const [i, content] of contents.entries()) {
      const sector = firstSector + i;
      const before = this.contents[sector];
      if (before !== undefined && before !== content) return sector;
      this.contents[sector] = content;
    }
    return undefined;
  }
}
