/**
 * Where a block of an object lies in each of its legs. Pure arithmetic without allocation: it runs
 * for every request. A stripe deals out units of equal size in turn, so unit u is in column u mod
 * n, at place u div n; legs of one mirror may have different numbers of columns and different
 * units.
 */
import { assert, BLOCK_SIZE_BYTES } from "../base/index.ts";
import { componentsOf, legsOf } from "../cluster/index.ts";
import type { ComponentRecord, LegNode, ObjectRecord, TreeNode } from "../cluster/index.ts";

export class LegLayout {
  readonly componentIds: readonly string[];
  readonly columnCount: number;
  /** Infinity where the leg is one component. */
  readonly unitBlocks: number;

  constructor(leg: LegNode) {
    this.componentIds = componentsOf(leg).map((node) => node.componentId);
    this.columnCount = this.componentIds.length;
    this.unitBlocks = leg.kind === "stripe" ? leg.unitBlocks : Infinity;
  }

  /** The index of the component that holds the block. */
  columnOf(blockIndex: number): number {
    if (this.columnCount === 1) return 0;
    return Math.floor(blockIndex / this.unitBlocks) % this.columnCount;
  }

  /** The block's index within that component. */
  componentBlockOf(blockIndex: number): number {
    if (this.columnCount === 1) return blockIndex;
    const unit = Math.floor(blockIndex / this.unitBlocks);
    const place = Math.floor(unit / this.columnCount);
    return place * this.unitBlocks + (blockIndex % this.unitBlocks);
  }

  /** The inverse: the block of the object that a block of a component holds. */
  objectBlockOf(column: number, componentBlock: number): number {
    assert(column >= 0 && column < this.columnCount, "no such column");
    if (this.columnCount === 1) return componentBlock;
    const place = Math.floor(componentBlock / this.unitBlocks);
    const unit = place * this.columnCount + column;
    return unit * this.unitBlocks + (componentBlock % this.unitBlocks);
  }

  /** Blocks from this one to the end of its unit: as far as one component goes. */
  runBlocks(blockIndex: number): number {
    if (this.columnCount === 1) return Infinity;
    return this.unitBlocks - (blockIndex % this.unitBlocks);
  }

  /** How many blocks the component needs for an object of `objectBlocks`. */
  componentBlockCount(column: number, objectBlocks: number): number {
    assert(column >= 0 && column < this.columnCount, "no such column");
    if (this.columnCount === 1) return objectBlocks;
    const units = Math.floor(objectBlocks / this.unitBlocks);
    const whole = Math.floor(units / this.columnCount);
    const turn = units % this.columnCount;
    const rest = turn === column ? objectBlocks % this.unitBlocks : 0;
    return (whole + (column < turn ? 1 : 0)) * this.unitBlocks + rest;
  }
}

export class ObjectLayout {
  readonly legs: readonly LegLayout[];

  constructor(tree: TreeNode) {
    this.legs = legsOf(tree).map((leg) => new LegLayout(leg));
  }

  /**
   * Blocks each component needs for an object of `objectBlocks`, by component id. Witnesses need
   * none.
   */
  componentSizes(objectBlocks: number): ReadonlyMap<string, number> {
    const sizes = new Map<string, number>();
    for (const leg of this.legs)
      for (const [column, componentId] of leg.componentIds.entries())
        sizes.set(componentId, leg.componentBlockCount(column, objectBlocks));
    return sizes;
  }
}

/**
 * Blocks that each component needs for an object of this size, those that are being built included;
 * witnesses need none.
 */
export function sizesOf(
  record: ObjectRecord,
  sizeBytes: number,
): readonly (readonly [ComponentRecord, number])[] {
  const trees = [record.tree, ...(record.change === undefined ? [] : [record.change.tree])];
  const blocks = Math.ceil(sizeBytes / BLOCK_SIZE_BYTES);
  const sizes = new Map(
    trees.flatMap((tree) => [...new ObjectLayout(tree).componentSizes(blocks)]),
  );
  return record.components.flatMap((entry): (readonly [ComponentRecord, number])[] => {
    const { componentId, state } = entry;
    const blockCount = sizes.get(state.kind === "building" ? state.replaces : componentId);
    return blockCount === undefined ? [] : [[entry, blockCount]];
  });
}
