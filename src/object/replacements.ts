/**
 * Components that are made anew, on another device, in place of leaves that do not come back or
 * have to go (US20190227727A1). The new one is built beside the tree: the record names it, changes
 * reach it, and it holds no copy until it has caught up from the beginning and was verified. Then
 * one compare-and-swap puts it in the place of the old one, and nothing is left of that but an
 * intent to remove it. If the old one is equal to its mirrors again before, the new one goes.
 */
import { assertDefined, BLOCK_SIZE_BYTES, CodedError, errorText, marks } from "../base/index.ts";
import { intentDrop, removalPut, leavesOf, replaceLeaf } from "../cluster/index.ts";
import type { ComponentRecord, ObjectRecord, TreeNode } from "../cluster/index.ts";
import type { Component } from "../store/index.ts";
import { LANES_MAX, Leg, LegMember, type Legs, type ObjectMember } from "./legs.ts";
import { ObjectLayout } from "./object-layout.ts";
import type { ObjectVolume } from "./object-volume.ts";
import type { MembersOwner } from "./object-members.ts";
import type { OwnerWorld, Placing, Replacing } from "./owner-world.ts";

/** How often it is asked whether a component is given up for good. */
const CONSIDER_MS = 1000;
/** A device that ran full under what was made there is left alone for so long. */
const AVOID_MS = 60_000;

interface Place {
  readonly leg: Leg<Component>;
  readonly column: number;
}

export class Replacements {
  readonly #world: OwnerWorld;
  readonly #legs: Legs<Component>;
  readonly #volume: Pick<ObjectVolume, "answered">;
  readonly #owner: MembersOwner;
  /** Behind each leg of the object, the one whose members are being built. */
  readonly #shadows = new Map<Leg<Component>, Leg<Component>>();
  readonly #removals = new Set<Promise<void>>();
  /** Components that are given up, and why they are not made anew yet. */
  readonly #blocked = new Map<string, Exclude<Placing, { kind: "place" }>>();
  /** Devices that ran full under what was made there: until when nothing is. */
  readonly #avoidUntilMs = new Map<string, number>();
  /** By component that is being made. */
  readonly #abandoning = new Map<string, Promise<void>>();
  #considering: Promise<void> | undefined;
  #nextMs = 0;
  #isStopped = false;

  constructor(
    world: OwnerWorld,
    legs: Legs<Component>,
    volume: Pick<ObjectVolume, "answered">,
    owner: MembersOwner,
  ) {
    this.#world = world;
    this.#legs = legs;
    this.#volume = volume;
    this.#owner = owner;
  }

  /** What an earlier owner has begun goes on. */
  start(): void {
    for (const entry of this.#owner.record().components) this.#join(entry);
  }

  async close(): Promise<void> {
    this.#isStopped = true;
    await this.#considering;
    await Promise.all(this.#removals);
  }

  /** Time passes. */
  tick(): void {
    const { replacing, clock } = this.#world;
    if (replacing === undefined || this.#considering !== undefined || this.#isStopped) return;
    if (clock.nowMs() < this.#nextMs) return;
    this.#nextMs = clock.nowMs() + CONSIDER_MS;
    this.#considering = this.#considerAll(replacing)
      .catch((error: unknown) => {
        const { objectId } = this.#owner.record();
        this.#world.log.write("warning", `nothing is replaced: ${errorText(error)}`, { objectId });
      })
      .finally(() => {
        this.#considering = undefined;
      });
  }

  async #considerAll(replacing: Replacing): Promise<void> {
    const { components, tree } = this.#owner.record();
    const witnesses = leavesOf(tree).filter((leaf) => leaf.kind === "witness");
    for (const entry of components) {
      const isWitness = witnesses.some((leaf) => leaf.componentId === entry.componentId);
      if (this.#isStopped) return;
      const { componentId, state } = entry;
      // The change of policy sees to it.
      if (state.kind === "joining") continue;
      const built = this.#builtFor(componentId);
      const isGood = state.kind === "active" && !isWitness;
      const hasToGo = isGood ? replacing.isLeaving : replacing.isGivenUp;
      if (built !== undefined && !isGood) {
        // An owner before this one has named it, and ended before it could put it in its place.
        if (isWitness) this.remove(await this.#switch(built));
        continue;
      }
      if (!(await hasToGo(this.#owner.record(), componentId))) {
        this.#blocked.delete(componentId);
        // It may stay after all.
        if (built !== undefined) await this.#abandon(built, "is not needed");
        continue;
      }
      if (built !== undefined) continue;
      // What was being built on a device that is gone is built elsewhere.
      if (state.kind === "building") await this.#abandon(entry, "does not come back");
      else await this.#replace(replacing, entry, isWitness);
    }
  }

  #builtFor(componentId: string): ComponentRecord | undefined {
    return this.#owner.record().components.find(({ state }) => {
      return state.kind === "building" && state.replaces === componentId;
    });
  }

  async #replace(
    replacing: Replacing,
    { componentId: replaces, hostId }: ComponentRecord,
    isWitness: boolean,
  ): Promise<void> {
    const avoided = this.#avoided();
    const placing = await replacing.placeFor(this.#owner.record(), replaces, avoided);
    if (this.#isStopped) return;
    if (placing.kind !== "place") {
      this.#block(replaces, placing);
      return;
    }
    this.#blocked.delete(replaces);
    const { place } = placing;
    const { objectId, name, sizeBytes, tree } = this.#owner.record();
    const sizes = new ObjectLayout(tree).componentSizes(Math.ceil(sizeBytes / BLOCK_SIZE_BYTES));
    const blockCount = isWitness ? 0 : assertDefined(sizes.get(replaces), "a leaf has a size");
    await replacing.makeComponent(place, objectId, blockCount);
    const building: ComponentRecord = { ...place, state: { kind: "building", replaces } };
    await this.#nameBuilding(building);
    this.#tell("component-building", place.componentId, [
      `component ${replaces} of ${name} on host ${hostId} is given up;`,
      `component ${place.componentId} is made in its place on host ${place.hostId}`,
    ]);
    // A witness holds nothing that it would have to get first.
    if (isWitness) this.remove(await this.#switch(building));
    else this.#join(building);
  }

  /** In the record, where each leaf has one that is being made in its place at most. */
  async #nameBuilding(building: ComponentRecord): Promise<void> {
    const drop = intentDrop(this.#world.clusterId, building.componentId);
    try {
      await this.#owner.swap((record) => withBuilding(record, building), [drop]);
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== "not-stale") throw error;
      marks.hit("a second rebuild of a component was refused");
      // The record does not name it and will not. The other one goes on.
      this.remove(building);
      for (const entry of this.#owner.record().components)
        if (!this.#isMember(entry.componentId)) this.#join(entry);
      throw error;
    }
  }

  #isMember(componentId: string): boolean {
    return this.#legs.legs.some((leg) =>
      leg.members.some((member) => member.componentId === componentId),
    );
  }

  /** Told once for each reason that no device may take it; that others come first is not news. */
  #block(componentId: string, why: Exclude<Placing, { kind: "place" }>): void {
    const before = this.#blocked.get(componentId);
    this.#blocked.set(componentId, why);
    if (why.kind !== "nowhere") return;
    if (before?.kind === "nowhere" && before.topic === why.topic) return;
    const { objectId } = this.#owner.record();
    const message = `${why.reason}; ${why.hint}`;
    const details = { objectId, componentId };
    this.#world.addEvent({ kind: "repair-blocked", level: "warning", message, details });
    this.#world.log.write("warning", message, { event: "repair-blocked" });
  }

  /** Why nothing is made in its place yet. */
  blockedReason(componentId: string): string | undefined {
    const why = this.#blocked.get(componentId);
    if (why === undefined) return undefined;
    return why.kind === "nowhere" ? `${why.reason}; ${why.hint}` : why.reason;
  }

  /** The record names it as being built; from now on it is a member that is away. */
  #join(entry: ComponentRecord): void {
    if (entry.state.kind !== "building") return;
    const place = this.#placeOf(entry.state.replaces);
    if (place === undefined) return;
    const { leg, column } = place;
    let shadow = this.#shadows.get(leg);
    if (shadow === undefined) {
      // While a change of policy takes all room, it is begun by whoever owns the object next.
      if (this.#legs.count === LANES_MAX) return;
      shadow = Leg.vacant<Component>(leg.layout);
      this.#shadows.set(leg, shadow);
      this.#legs.add(shadow);
    }
    shadow.setMember(column, new LegMember<Component>(entry.componentId, undefined, "absent"));
    this.#legs.rolesChanged();
  }

  /** Where a leaf is in the object's own legs; a witness is nowhere. */
  #placeOf(componentId: string): Place | undefined {
    for (const leg of this.#legs.legs.slice(0, this.#legs.copyCount)) {
      const column = leg.members.findIndex((member) => member.componentId === componentId);
      if (column >= 0) return { leg, column };
    }
    return undefined;
  }

  /** No change is under way, and the member is equal to its mirrors: it counts from now on. */
  async finish(member: ObjectMember): Promise<void> {
    const { components } = this.#owner.record();
    const entry = components.find(({ componentId }) => componentId === member.componentId);
    if (entry?.state.kind !== "building") throw notBuilding(member.componentId);
    const { replaces } = entry.state;
    const { leg, column } = assertDefined(this.#placeOf(replaces), "a leaf has a place");
    const replaced = await this.#switch(entry);
    const old = leg.members[column]!;
    leg.setMember(column, member);
    this.#vacate(leg, column);
    old.role = "absent";
    this.#legs.rolesChanged();
    this.remove(replaced);
  }

  /** By compare-and-swap; doing it twice changes nothing. Returns what is no leaf any more. */
  async #switch({ componentId, state }: ComponentRecord): Promise<ComponentRecord> {
    if (state.kind !== "building") throw notBuilding(componentId);
    const { objectId, components } = this.#owner.record();
    const old = components.find((one) => one.componentId === state.replaces);
    if (old === undefined) throw notBuilding(componentId);
    marks.hit("a component was made anew");
    const removal = { componentId: old.componentId, hostId: old.hostId, objectId };
    await this.#owner.swap(
      (record) => withSwitched(record, componentId),
      [removalPut(this.#world.clusterId, removal)],
    );
    return old;
  }

  /** A leaf that was being replaced is equal to its mirrors again. */
  async returned(componentId: string): Promise<void> {
    const entry = this.#builtFor(componentId);
    if (entry === undefined) return;
    const isLeaving = await this.#world.replacing?.isLeaving(this.#owner.record(), componentId);
    if (isLeaving !== true) await this.#abandon(entry, "is not needed");
  }

  /**
   * There is not enough room for what is being made. It goes, since whatever else is on its device
   * needs room, too, and another place is looked for. Does nothing if it is not being made any
   * more.
   */
  async ranFull(componentId: string): Promise<void> {
    const { components } = this.#owner.record();
    const entry = components.find((one) => one.componentId === componentId);
    if (entry?.state.kind !== "building" || this.#isStopped) return;
    marks.hit("a component that was being made ran out of room");
    this.#avoidUntilMs.set(entry.deviceId, this.#world.clock.nowMs() + AVOID_MS);
    await this.#abandon(entry, "is given up: its device is full", "warning");
  }

  #avoided(): ReadonlySet<string> {
    const nowMs = this.#world.clock.nowMs();
    for (const [deviceId, untilMs] of this.#avoidUntilMs)
      if (nowMs >= untilMs) this.#avoidUntilMs.delete(deviceId);
    return new Set(this.#avoidUntilMs.keys());
  }

  /** Once, whoever asks for it meanwhile. */
  #abandon(entry: ComponentRecord, why: string, level: "info" | "warning" = "info"): Promise<void> {
    const { componentId } = entry;
    const begun = this.#abandoning.get(componentId);
    if (begun !== undefined) return begun;
    const abandoning = this.#giveUp(entry, why, level).finally(() => {
      this.#abandoning.delete(componentId);
    });
    this.#abandoning.set(componentId, abandoning);
    return abandoning;
  }

  async #giveUp(entry: ComponentRecord, why: string, level: "info" | "warning"): Promise<void> {
    marks.hit("a component that was being made was given up");
    const { componentId, hostId } = entry;
    const { objectId, name } = this.#owner.record();
    const removal = removalPut(this.#world.clusterId, { componentId, hostId, objectId });
    await this.#owner.swap((record) => withoutBuilding(record, componentId), [removal]);
    const words = [
      `component ${componentId} of ${name}, which was being made on host ${hostId},`,
      why,
    ];
    this.#tell("component-abandoned", componentId, words, level);
    for (const [leg, shadow] of this.#shadows) {
      const column = shadow.members.findIndex((member) => member.componentId === componentId);
      if (column < 0) continue;
      shadow.members[column]!.role = "absent";
      this.#vacate(leg, column);
    }
    this.#legs.rolesChanged();
    this.remove(entry);
  }

  #vacate(leg: Leg<Component>, column: number): void {
    this.#shadows.get(leg)?.setMember(column, new LegMember<Component>("", undefined, "absent"));
  }

  /** Legs that have nothing to build make room for others. No change is under way. */
  dropVacant(): void {
    for (const [leg, shadow] of this.#shadows) {
      if (shadow.members.some(({ componentId }) => componentId !== "")) continue;
      this.#shadows.delete(leg);
      this.#legs.remove(shadow);
    }
  }

  /** These legs belong to the object no more. Returns what is being built for others. */
  without(dropped: readonly Leg<Component>[]): readonly Leg<Component>[] {
    for (const leg of dropped) {
      for (const member of this.#shadows.get(leg)?.members ?? []) member.role = "absent";
      this.#shadows.delete(leg);
    }
    return [...this.#shadows.values()];
  }

  /** An intent sees to it that it happens at last. */
  remove({ componentId, hostId }: ComponentRecord): void {
    const { replacing } = this.#world;
    if (replacing === undefined) return;
    // One that was good may be being read.
    const settled = this.#volume
      .answered()
      .then(() => replacing.removeComponent(componentId, hostId))
      .catch((error: unknown) => {
        const what = `a component is not removed yet: ${errorText(error)}`;
        this.#world.log.write("warning", what, { componentId, hostId });
      })
      .finally(() => this.#removals.delete(settled));
    this.#removals.add(settled);
  }

  #tell(
    kind: "component-building" | "component-abandoned",
    componentId: string,
    words: readonly string[],
    level: "info" | "warning" = "info",
  ): void {
    const { objectId } = this.#owner.record();
    const message = words.join(" ");
    this.#world.addEvent({ kind, level, message, details: { objectId, componentId } });
    this.#world.log.write(level, message, { event: kind });
  }
}

function withBuilding(record: ObjectRecord, entry: ComponentRecord): ObjectRecord {
  const { components } = record;
  if (components.some(({ componentId }) => componentId === entry.componentId)) return record;
  const { state } = entry;
  const isReplaceable = (one: ComponentRecord): boolean =>
    state.kind === "building" && one.componentId === state.replaces;
  if (!components.some(isReplaceable)) throw notBuilding(entry.componentId);
  const other = components.find(
    (one) =>
      state.kind === "building" &&
      one.state.kind === "building" &&
      one.state.replaces === state.replaces,
  );
  if (other !== undefined) throw isBuilding(other);
  return { ...record, components: [...components, entry] };
}

function withoutBuilding(record: ObjectRecord, gone: string): ObjectRecord {
  const components = record.components.filter(({ componentId }) => componentId !== gone);
  return { ...record, components };
}

function withSwitched(record: ObjectRecord, componentId: string): ObjectRecord {
  const entry = record.components.find((one) => one.componentId === componentId);
  if (entry === undefined) throw notBuilding(componentId);
  const { state } = entry;
  if (state.kind !== "building") return record;
  const components = record.components
    .filter((one) => one.componentId !== state.replaces)
    .map((one): ComponentRecord => (one === entry ? { ...one, state: { kind: "active" } } : one));
  const renamed = (tree: TreeNode): TreeNode => replaceLeaf(tree, state.replaces, componentId);
  const { change, tree } = record;
  return {
    ...record,
    components,
    tree: renamed(tree),
    ...(change === undefined ? {} : { change: { ...change, tree: renamed(change.tree) } }),
  };
}

function isBuilding({ componentId, hostId, state }: ComponentRecord): CodedError {
  const what = state.kind === "building" ? state.replaces : componentId;
  return new CodedError({
    code: "not-stale",
    message: `component ${what} is being made anew already, as ${componentId} on host ${hostId}`,
  });
}

function notBuilding(componentId: string): CodedError {
  return new CodedError({
    code: "not-stale",
    message: `component ${componentId} is not being built any more`,
  });
}
