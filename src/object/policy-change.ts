/**
 * Another policy while the object is in use. What its tree is to be stands in the record, with the
 * components that are missing for it ("joining"). Their legs stand behind the object's own: changes
 * reach them, they hold no copy. When all of them hold everything, and between two writes their
 * digests equal those of the object, one compare-and-swap makes their tree the object's. Of the
 * components that are left over, only intents to remove them stay.
 */
import { BLOCK_SIZE_BYTES, CodedError, errorText, marks } from "../base/index.ts";
import { intentDrop, removalPut, isLeaf, leavesOf, legsOf, replaceLeaf } from "../cluster/index.ts";
import { componentsOf } from "../cluster/index.ts";
import type { ComponentRecord, LegNode, ObjectChange, ObjectRecord } from "../cluster/index.ts";
import type { Component } from "../store/index.ts";
import type { CatchUp } from "./catch-up.ts";
import { LANES_MAX, Leg, LegMember } from "./legs.ts";
import type { Legs, ObjectMember } from "./legs.ts";
import { LegLayout, ObjectLayout } from "./object-layout.ts";
import type { MembersOwner } from "./object-members.ts";
import type { ObjectVolume } from "./object-volume.ts";
import type { OwnerWorld, Placing } from "./owner-world.ts";
import type { Replacements } from "./replacements.ts";

/** How often it is asked whether it may begin, and whether what joins is given up. */
const CONSIDER_MS = 1000;

/** Holds everything up to now, and follows. */
interface Ready {
  readonly catchUp: CatchUp;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class PolicyChange {
  readonly #world: OwnerWorld;
  readonly #legs: Legs<Component>;
  readonly #volume: ObjectVolume;
  readonly #owner: MembersOwner;
  readonly #replacements: Replacements;
  /** Legs of the tree that the object is to have, behind its own. */
  #joining: Leg<Component>[] = [];
  readonly #ready = new Map<ObjectMember, Ready>();
  readonly #blocked = new Map<string, Exclude<Placing, { kind: "place" }>>();
  #isTurn = false;
  #running: Promise<void> | undefined;
  #nextMs = 0;
  #isStopped = false;

  constructor(
    world: OwnerWorld,
    legs: Legs<Component>,
    volume: ObjectVolume,
    owner: MembersOwner,
    replacements: Replacements,
  ) {
    this.#world = world;
    this.#legs = legs;
    this.#volume = volume;
    this.#owner = owner;
    this.#replacements = replacements;
  }

  stop(): void {
    this.#isStopped = true;
    for (const { reject } of this.#ready.values()) reject(postponed("the volume is given up"));
    this.#ready.clear();
  }

  async close(): Promise<void> {
    this.stop();
    await this.#running;
  }

  /** Whether a component that joins may be copied to now. */
  mayJoin(member: ObjectMember): boolean {
    return this.#isTurn && this.#joining.some((leg) => leg.members.includes(member));
  }

  /** Why a component of the tree that is to be is not made yet. */
  blockedReason(componentId: string): string | undefined {
    const why = this.#blocked.get(componentId);
    return why?.kind === "nowhere" ? `${why.reason}; ${why.hint}` : why?.reason;
  }

  /** Time passes. */
  tick(): void {
    if (this.#running !== undefined || this.#isStopped) return;
    const { change } = this.#owner.record();
    if (change === undefined && this.#joining.length === 0) return;
    this.#running = this.#step(change)
      .catch((error: unknown) => {
        const { objectId } = this.#owner.record();
        const what = `a change of policy does not go on: ${errorText(error)}`;
        this.#world.log.write("warning", what, { objectId });
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  /**
   * The member holds everything. Resolves when it belongs to the object; fails if it has to begin
   * anew.
   */
  follow(member: ObjectMember, catchUp: CatchUp): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#isStopped || !this.mayJoin(member)) reject(postponed("it is not wanted any more"));
      else this.#ready.set(member, { catchUp, resolve, reject });
    });
  }

  async #step(change: ObjectChange | undefined): Promise<void> {
    if (!this.#isAttached(change)) await this.#attach(change);
    if (change === undefined || !this.#isAttached(change)) return;
    for (const [member, { reject }] of this.#ready) {
      if (member.role === "catching-up") continue;
      this.#ready.delete(member);
      reject(postponed("it does not follow any more"));
    }
    const { clock } = this.#world;
    if (clock.nowMs() >= this.#nextMs) {
      this.#nextMs = clock.nowMs() + CONSIDER_MS;
      await this.#consider(change);
    }
    if (await this.#isComplete(change)) await this.#switch(change);
  }

  /** Its turn among all that is copied in the cluster, and joining components that are lost. */
  async #consider(change: ObjectChange): Promise<void> {
    const { replacing } = this.#world;
    if (replacing === undefined) return;
    this.#isTurn ||= await replacing.mayChange(this.#owner.record());
    for (const { componentId } of joiningOf(this.#owner.record())) {
      if (this.#isStopped) return;
      if (await replacing.isGivenUp(this.#owner.record(), componentId))
        await this.#placeAnew(change, componentId);
      else this.#blocked.delete(componentId);
    }
  }

  async #placeAnew(change: ObjectChange, componentId: string): Promise<void> {
    const { replacing, clusterId } = this.#world;
    if (replacing === undefined) return;
    const placing = await replacing.placeFor(changedRecord(this.#owner.record()), componentId);
    if (placing.kind !== "place") {
      this.#blocked.set(componentId, placing);
      return;
    }
    this.#blocked.delete(componentId);
    const { objectId, sizeBytes, name } = this.#owner.record();
    const blocks = Math.ceil(sizeBytes / BLOCK_SIZE_BYTES);
    const blockCount = new ObjectLayout(change.tree).componentSizes(blocks).get(componentId) ?? 0;
    const { place } = placing;
    await replacing.makeComponent(place, objectId, blockCount);
    const old = joiningOf(this.#owner.record()).find((one) => one.componentId === componentId);
    if (old === undefined) return;
    await this.#owner.swap(
      (record) => withOtherJoining(record, componentId, { ...place, state: { kind: "joining" } }),
      [
        intentDrop(clusterId, place.componentId),
        removalPut(clusterId, { componentId, hostId: old.hostId, objectId }),
      ],
    );
    this.#replacements.remove(old);
    const what = `component ${componentId} of ${name}, which was joining, is made elsewhere`;
    this.#world.log.write("info", what, { objectId });
  }

  /** Whether the legs behind the object's are those that `change` wants. */
  #isAttached(change: ObjectChange | undefined): boolean {
    const wanted = change === undefined ? [] : this.#newLegs(change);
    return (
      wanted.length === this.#joining.length &&
      wanted.every((node) => legFor(this.#joining, node) !== undefined)
    );
  }

  #newLegs({ tree }: ObjectChange): readonly LegNode[] {
    return legsOf(tree).filter((node) => legFor(this.#copies, node) === undefined);
  }

  get #copies(): readonly Leg<Component>[] {
    return this.#legs.legs.slice(0, this.#legs.copyCount);
  }

  /** While nothing is under way: what is sent then is cut as all legs together want it. */
  async #attach(change: ObjectChange | undefined): Promise<void> {
    this.#isTurn = false;
    const gone = this.#joining;
    try {
      await this.#volume.pause();
      if (this.#isStopped) return;
      for (const leg of gone) this.#legs.remove(leg);
      this.#joining = [];
      this.#replacements.dropVacant();
      const wanted = change === undefined ? [] : this.#newLegs(change);
      // What is being made anew takes part, too: there may be no room until that is done.
      if (this.#legs.count + wanted.length <= LANES_MAX)
        for (const node of wanted) {
          const layout = new LegLayout(node);
          const members = layout.componentIds.map(
            (componentId) => new LegMember<Component>(componentId, undefined, "absent"),
          );
          this.#joining.push(new Leg(layout, members));
        }
      for (const leg of this.#joining) this.#legs.add(leg);
    } finally {
      this.#volume.resume();
    }
    for (const member of gone.flatMap((leg) => leg.members)) {
      member.role = "absent";
      this.#ready.get(member)?.reject(postponed("it is not wanted any more"));
      this.#ready.delete(member);
    }
    this.#legs.rolesChanged();
  }

  /** Whether everything of the tree that is to be is there, and equal as far as is known. */
  async #isComplete(change: ObjectChange): Promise<boolean> {
    if (this.#isStopped) return false;
    const record = this.#owner.record();
    if (!isKeptWhole(record, change)) return false;
    const members = this.#joining.flatMap((leg) => leg.members);
    if (!members.every((member) => this.#ready.has(member))) return false;
    const witnesses = joiningOf(record).filter(({ componentId }) => {
      return members.every((member) => member.componentId !== componentId);
    });
    for (const witness of witnesses) if (!(await this.#answers(witness))) return false;
    return true;
  }

  /** A witness that nobody reaches is no vote to rely on. */
  async #answers({ componentId, hostId }: ComponentRecord): Promise<boolean> {
    const component = this.#world.components(componentId, hostId);
    if (component === undefined) return false;
    try {
      await component.open(this.#volume.epoch);
      return true;
    } catch (error) {
      if (error instanceof CodedError && error.code !== "fenced") return false;
      throw error;
    }
  }

  async #switch(change: ObjectChange): Promise<void> {
    const ready = [...this.#ready];
    const waiting = ready.map(([, one]) => one);
    this.#ready.clear();
    let left: readonly ComponentRecord[];
    try {
      left = await this.#betweenWrites(change, waiting);
    } catch (error) {
      const failed = error instanceof Error ? error : new Error(errorText(error));
      for (const { reject } of waiting) reject(failed);
      throw error;
    }
    for (const { resolve } of waiting) resolve();
    for (const entry of left) this.#replacements.remove(entry);
    const { failuresToTolerate, stripes } = change.policy;
    const { objectId, name } = this.#owner.record();
    const message = `${name} tolerates ${failuresToTolerate} failures now, in ${stripes} stripes`;
    const details = { objectId, failuresToTolerate, stripes };
    this.#world.addEvent({ kind: "policy-changed", level: "info", message, details });
    this.#world.log.write("info", message, { event: "policy-changed", objectId });
  }

  /** Returns what belongs to the object no more. */
  async #betweenWrites(
    change: ObjectChange,
    waiting: readonly Ready[],
  ): Promise<readonly ComponentRecord[]> {
    const volume = this.#volume;
    try {
      await volume.pause();
      this.#legs.commit(volume.epoch, volume.watermark);
      for (const { catchUp } of waiting) await catchUp.confirm();
      const left = leftOver(this.#owner.record(), change);
      const copies = this.#copiesOf(change);
      await this.#swap(change, left);
      this.#become(copies);
      marks.hit("a policy was switched");
      return left;
    } finally {
      volume.resume();
    }
  }

  async #swap(change: ObjectChange, left: readonly ComponentRecord[]): Promise<void> {
    const { clusterId } = this.#world;
    const { objectId } = this.#owner.record();
    const intents = left.map(({ componentId, hostId }) =>
      removalPut(clusterId, { componentId, hostId, objectId }),
    );
    try {
      await this.#owner.swap((record) => switched(record, change, left), intents);
    } catch (error) {
      // Which tree the object has must be known before anything is answered.
      const isCertain = error instanceof CodedError && error.code === "policy-change-moved";
      if (!isCertain) this.#owner.stop(errorText(error));
      throw error;
    }
  }

  #copiesOf({ tree }: ObjectChange): readonly Leg<Component>[] {
    const all = [...this.#copies, ...this.#joining];
    return legsOf(tree).map((node) => {
      const leg = legFor(all, node);
      if (leg !== undefined) return leg;
      throw moved();
    });
  }

  #become(copies: readonly Leg<Component>[]): void {
    const before = this.#copies;
    for (const member of this.#joining.flatMap((leg) => leg.members)) member.role = "active";
    const dropped = before.filter((leg) => !copies.includes(leg));
    for (const member of dropped.flatMap((leg) => leg.members)) member.role = "absent";
    this.#joining = [];
    this.#isTurn = false;
    this.#legs.switchTo(copies, this.#replacements.without(dropped));
  }
}

/** The record as it will be, for who looks for a place. */
function changedRecord(record: ObjectRecord): ObjectRecord {
  const { change, ...rest } = record;
  if (change === undefined) return record;
  const ids = new Set(leavesOf(change.tree).map(({ componentId }) => componentId));
  const components = record.components
    .filter(({ componentId }) => ids.has(componentId))
    .map((entry): ComponentRecord => {
      return entry.state.kind === "joining"
        ? { ...entry, state: { kind: "stale", since: 0 } }
        : entry;
    });
  return { ...rest, policy: change.policy, tree: change.tree, components };
}

function joiningOf({ components }: ObjectRecord): readonly ComponentRecord[] {
  return components.filter(({ state }) => state.kind === "joining");
}

/** Whether what stays of the object is good, and is not being made anew. */
function isKeptWhole({ components }: ObjectRecord, { tree }: ObjectChange): boolean {
  const next = new Set(leavesOf(tree).map(({ componentId }) => componentId));
  return components.every(({ componentId, state }) => {
    if (state.kind === "building") return !next.has(state.replaces);
    return !next.has(componentId) || state.kind === "active" || state.kind === "joining";
  });
}

/** What the object has no use for once the change is made. */
function leftOver(record: ObjectRecord, { tree }: ObjectChange): readonly ComponentRecord[] {
  const next = new Set(leavesOf(tree).map(({ componentId }) => componentId));
  return record.components.filter((entry) => {
    if (entry.state.kind === "building") return !next.has(entry.state.replaces);
    return isLeaf(entry) && !next.has(entry.componentId);
  });
}

function switched(
  record: ObjectRecord,
  change: ObjectChange,
  left: readonly ComponentRecord[],
): ObjectRecord {
  const isSame = (one: ObjectChange): boolean =>
    JSON.stringify(one.tree) === JSON.stringify(change.tree);
  // An answer may have been lost.
  if (record.change === undefined && isSame({ policy: record.policy, tree: record.tree }))
    return record;
  if (record.change === undefined || !isSame(record.change)) throw moved();
  if (!isKeptWhole(record, change)) throw moved();
  const going = new Set(leftOver(record, change).map(({ componentId }) => componentId));
  if (going.size !== left.length || left.some(({ componentId }) => !going.has(componentId)))
    throw moved();
  const { change: _done, ...rest } = record;
  const components = record.components
    .filter(({ componentId }) => !going.has(componentId))
    .map((entry): ComponentRecord =>
      entry.state.kind === "joining" ? { ...entry, state: { kind: "active" } } : entry,
    );
  return { ...rest, policy: change.policy, tree: change.tree, components };
}

function withOtherJoining(
  record: ObjectRecord,
  componentId: string,
  entry: ComponentRecord,
): ObjectRecord {
  const { change, components } = record;
  if (change === undefined) throw moved();
  if (components.some((one) => one.componentId === entry.componentId)) return record;
  if (components.every((one) => one.componentId !== componentId)) throw moved();
  return {
    ...record,
    change: { ...change, tree: replaceLeaf(change.tree, componentId, entry.componentId) },
    components: components.map((one) => (one.componentId === componentId ? entry : one)),
  };
}

/** The leg whose members are the components of a node, in order. */
function legFor(legs: readonly Leg<Component>[], node: LegNode): Leg<Component> | undefined {
  const ids = componentsOf(node).map(({ componentId }) => componentId);
  return legs.find(
    ({ members }) =>
      members.length === ids.length && members.every((one, i) => one.componentId === ids[i]),
  );
}

function moved(): CodedError {
  return new CodedError({
    code: "policy-change-moved",
    message: "the record has changed while the object was being switched over",
  });
}

function postponed(why: string): CodedError {
  return new CodedError({ code: "not-stale", message: why });
}
