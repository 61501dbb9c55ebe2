/** The legs that take part in reads and writes now: full copies whose components all answered. */
import { assert, assertDefined } from "../base/index.ts";
import type { ComponentIo } from "../store/index.ts";
import type { LegLayout } from "./object-layout.ts";

export class ActiveLegs {
  readonly legs: readonly ActiveLeg[];
  readonly components: readonly ComponentIo[];
  readonly isStriped: boolean;

  constructor(legs: readonly ActiveLeg[]) {
    assert(legs.length >= 1, "an object is served from at least one leg");
    this.legs = legs;
    this.components = legs.flatMap((leg) => leg.components);
    this.isStriped = legs.some((leg) => leg.layout.columnCount > 1);
  }

  get count(): number {
    return this.legs.length;
  }

  /** Blocks from this one that lie in one component in every leg. */
  runBlocks(blockIndex: number): number {
    let blocks = Infinity;
    for (const leg of this.legs) blocks = Math.min(blocks, leg.layout.runBlocks(blockIndex));
    return blocks;
  }

  submit(): void {
    for (const component of this.components) component.submit();
  }

  commit(epoch: number, sequence: number): void {
    for (const component of this.components) component.commit(epoch, sequence);
  }
}

export class ActiveLeg {
  readonly layout: LegLayout;
  readonly components: readonly ComponentIo[];

  constructor(layout: LegLayout, components: readonly ComponentIo[]) {
    assert(layout.columnCount === components.length, "a leg has one component per column");
    this.layout = layout;
    this.components = components;
  }

  /** The component that holds a block of the object. */
  componentAt(blockIndex: number): ComponentIo {
    const component = this.components[this.layout.columnOf(blockIndex)];
    return assertDefined(component, "no component for this block");
  }
}
