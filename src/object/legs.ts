/**
 * The legs of an object as its owner uses them now. Each place of a leg has a member: the component
 * that holds the leg's part, or nobody as long as that component is stale. Reads come from active
 * members; changes go to active ones, whose answers count, and to those that are catching up, whose
 * answers do not.
 */
import { assert, assertDefined } from "../base/index.ts";
import { LEGS_MAX } from "../cluster/index.ts";
import type { Component, ComponentIo } from "../store/index.ts";
import type { LegLayout } from "./object-layout.ts";

/** Those of the object, and as many that are being built. */
export const LANES_MAX: number = 2 * LEGS_MAX;

export type MemberRole = "active" | "catching-up" | "absent";

export class LegMember<C extends ComponentIo = ComponentIo> {
  readonly componentId: string;
  /** The last known way to it. */
  component: C | undefined;
  role: MemberRole;
  /** It does not hold what it should and is being given up: nothing is read from it any more. */
  isHollow = false;
  /** The newest sequence that it has said to hold durably. */
  durableSequence = 0;

  constructor(componentId: string, component: C | undefined, role: MemberRole) {
    assert(component !== undefined || role === "absent", "who takes part can be reached");
    this.componentId = componentId;
    this.component = component;
    this.role = role;
  }
}

/** A member that can be made equal to its mirrors. */
export type ObjectMember = LegMember<Component>;

export class Leg<C extends ComponentIo = ComponentIo> {
  readonly layout: LegLayout;
  readonly #members: LegMember<C>[];

  constructor(layout: LegLayout, members: readonly LegMember<C>[]) {
    assert(layout.columnCount === members.length, "a leg has one member per column");
    this.layout = layout;
    this.#members = [...members];
  }

  /** With places that nobody takes. */
  static vacant<C extends ComponentIo>(layout: LegLayout): Leg<C> {
    return new Leg(
      layout,
      layout.componentIds.map(() => new LegMember<C>("", undefined, "absent")),
    );
  }

  get members(): readonly LegMember<C>[] {
    return this.#members;
  }

  setMember(column: number, member: LegMember<C>): void {
    assert(column >= 0 && column < this.#members.length, "no such column");
    this.#members[column] = member;
  }

  /** The member that holds a block of the object. */
  memberAt(blockIndex: number): LegMember<C> {
    return assertDefined(this.#members[this.layout.columnOf(blockIndex)], "no such column");
  }

  get isComplete(): boolean {
    return this.#members.every((member) => member.role === "active");
  }
}

export class Legs<C extends ComponentIo = ComponentIo> {
  readonly #legs: Leg<C>[];
  readonly #isNear: (componentId: string) => boolean;
  #copyCount: number;
  #generation = 0;
  #isStriped = false;
  /** In the order in which reads prefer them. */
  #readOrder: readonly Leg<C>[] = [];
  /** Everybody who takes part. */
  #live: C[] = [];

  /** `isNear` says whether a component is cheaper to read than others. */
  constructor(legs: readonly Leg<C>[], isNear: (componentId: string) => boolean = () => false) {
    assert(legs.length >= 1, "an object has at least one leg");
    this.#legs = [...legs];
    this.#copyCount = legs.length;
    this.#isNear = isNear;
    this.rolesChanged();
  }

  /** Those of the object, and behind them those that are being built. */
  get legs(): readonly Leg<C>[] {
    return this.#legs;
  }

  get count(): number {
    return this.#legs.length;
  }

  /** All of them, those first that reads prefer: the near ones. */
  get inReadOrder(): readonly Leg<C>[] {
    return this.#readOrder;
  }

  /** Whether all of the leg is cheaper to read than others are. */
  isNear(leg: Leg<C>): boolean {
    return leg.members.every((member) => this.#isNear(member.componentId));
  }

  /** How many of them are the object's. */
  get copyCount(): number {
    return this.#copyCount;
  }

  get isStriped(): boolean {
    return this.#isStriped;
  }

  get members(): readonly LegMember<C>[] {
    return this.#legs.flatMap((leg) => leg.members);
  }

  /** Grows when the object's own legs are others than before. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * Changes go there, too, from now on; it is no copy of the object. If it is laid out differently
   * from the others, nothing may be under way.
   */
  add(leg: Leg<C>): void {
    assert(this.#legs.length < LANES_MAX, "too many legs");
    this.#legs.push(leg);
    this.rolesChanged();
  }

  /** Not one of the object's own. Nothing may be under way. */
  remove(leg: Leg<C>): void {
    const at = this.#legs.indexOf(leg);
    assert(at >= this.#copyCount, "a copy of the object is not taken away");
    this.#legs.splice(at, 1);
    this.rolesChanged();
  }

  /** From now on the object is made of these, with those behind them. Nothing may be under way. */
  switchTo(copies: readonly Leg<C>[], behind: readonly Leg<C>[]): void {
    assert(copies.length >= 1, "an object has at least one leg");
    assert(copies.length + behind.length <= LANES_MAX, "too many legs");
    this.#legs.splice(0, this.#legs.length, ...copies, ...behind);
    this.#copyCount = copies.length;
    this.#generation++;
    this.rolesChanged();
  }

  /** To be called after the role of a member, or the member of a leg, has changed. */
  rolesChanged(): void {
    this.#isStriped = this.#legs.some((leg) => leg.layout.columnCount > 1);
    const farCount = (leg: Leg<C>): number =>
      leg.members.filter((member) => !this.#isNear(member.componentId)).length;
    this.#readOrder = this.#legs.toSorted((a, b) => farCount(a) - farCount(b));
    this.#live = this.members
      .filter((member) => member.role !== "absent")
      .map((member) => assertDefined(member.component, "who takes part can be reached"));
  }

  /** Blocks from this one that lie in one component in every leg. */
  runBlocks(blockIndex: number): number {
    if (!this.#isStriped) return Infinity;
    let blocks = Infinity;
    for (const leg of this.#legs) blocks = Math.min(blocks, leg.layout.runBlocks(blockIndex));
    return blocks;
  }

  /**
   * The leg to read a block from at the given attempt, counted from 0; undefined if none is left.
   * `place` is where in the order of reads the first attempt begins.
   */
  readableLeg(blockIndex: number, attempt: number, place = 0): Leg<C> | undefined {
    const order = this.#readOrder;
    let rest = attempt;
    for (let i = 0; i < order.length; i++) {
      const leg = order[(place + i) % order.length]!;
      if (leg.memberAt(blockIndex).role !== "active") continue;
      if (rest-- === 0) return leg;
    }
    return undefined;
  }

  /** Whether every block of an object of this size has an active member besides these. */
  covers(objectBlocks: number, lost: ReadonlySet<LegMember> = new Set()): boolean {
    const isLeft = (member: LegMember): boolean => member.role === "active" && !lost.has(member);
    if (this.#legs.some((leg) => leg.members.every(isLeft))) return true;
    if (!this.#isStriped) return false;
    // Units repeat after the product of all periods at most; stripes are few.
    for (let block = 0; block < objectBlocks;) {
      if (!this.#legs.some((leg) => isLeft(leg.memberAt(block)))) return false;
      block += this.runBlocks(block);
      if (block >= this.#periodBlocks()) return true;
    }
    return true;
  }

  #periodBlocks(): number {
    let period = 1;
    for (const { layout } of this.#legs)
      if (layout.columnCount > 1) period *= layout.columnCount * layout.unitBlocks;
    return period;
  }

  submit(): void {
    for (const component of this.#live) component.submit();
  }

  commit(epoch: number, sequence: number): void {
    for (const component of this.#live) component.commit(epoch, sequence);
  }
}
