/**
 * Writes of placed payload, group by group. The file system below may turn out to be full, filled
 * by somebody else since its room was looked at: what found no space is kept and written again when
 * asked, and its group is not called written before. Nothing else is held up by that but groups
 * behind it, which may not become durable earlier.
 */
import type { Disk, DiskFault } from "../ports/index.ts";
import type { PlacedBlocks, PlacedRun } from "./placed-blocks.ts";

type Written = Parameters<Disk["write"]>[4];

interface PlacedGroup {
  readonly id: number;
  readonly runs: readonly PlacedRun[];
  readonly done: Written;
  writesLeft: number;
  fault: DiskFault | undefined;
}

export class PlacedWrites {
  readonly #disk: Disk;
  readonly #placed: PlacedBlocks;
  readonly #blocksOffset: number;
  #groups: PlacedGroup[] = [];
  #isShort = false;
  #onShort: () => void = () => {};
  #onSpace: () => void = () => {};

  constructor(disk: Disk, placed: PlacedBlocks, blocksOffset: number) {
    this.#disk = disk;
    this.#placed = placed;
    this.#blocksOffset = blocksOffset;
  }

  /** Something waits for space. */
  get isShort(): boolean {
    return this.#isShort;
  }

  /** `onShort` when something begins to wait for space, `onSpace` when nothing does any more. */
  listen(onShort: () => void, onSpace: () => void): void {
    this.#onShort = onShort;
    this.#onSpace = onSpace;
  }

  /** Calls back once for all runs, with the group. The caller submits the disk. */
  write(id: number, runs: readonly PlacedRun[], done: Written): void {
    const group: PlacedGroup = { id, runs, done, writesLeft: 0, fault: undefined };
    this.#groups.push(group);
    this.#send(group);
  }

  /** Writes again what waits for space. */
  retry(): void {
    for (const group of this.#groups) if (group.writesLeft === 0) this.#send(group);
    this.#disk.submit();
  }

  #send(group: PlacedGroup): void {
    group.writesLeft = group.runs.length;
    group.fault = undefined;
    for (const run of group.runs)
      this.#placed.write(run, this.#blocksOffset, this.#written, group.id);
  }

  readonly #written = (id: number, fault: DiskFault | undefined): void => {
    const group = this.#groups.find((one) => one.id === id);
    if (group === undefined) return;
    // Whatever else is wrong counts more.
    if (fault !== undefined && (group.fault ?? "no-space") === "no-space") group.fault = fault;
    if (--group.writesLeft > 0) return;
    if (group.fault === "no-space") {
      if (this.#isShort) return;
      this.#isShort = true;
      return this.#onShort();
    }
    this.#groups = this.#groups.filter((one) => one !== group);
    // What was sent later may wait for space, too: its turn comes with the next try.
    const isOver = this.#isShort && !this.#groups.some((one) => one.fault === "no-space");
    if (isOver) this.#isShort = false;
    group.done(id, group.fault);
    if (isOver) this.#onSpace();
  };
}
