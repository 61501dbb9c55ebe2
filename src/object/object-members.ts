/**
 * Who takes part in an object while it is owned. A member that lacks a write becomes stale in the
 * directory before the write is answered; a stale one that can be reached again catches up. Both
 * change the record by compare-and-swap, so an owner that was replaced learns it here at the
 * latest.
 */
import { BLOCK_SIZE_BYTES, CodedError, errorText, marks } from "../base/index.ts";
import { leavesOf, votesOf } from "../cluster/index.ts";
import type { ComponentRecord, ComponentState, LeafNode, ObjectRecord } from "../cluster/index.ts";
import type { DirectoryWrite, Timer } from "../ports/index.ts";
import type { Component } from "../store/index.ts";
import { CatchUp } from "./catch-up.ts";
import type { LegMember, Legs, ObjectMember } from "./legs.ts";
import { isFenced } from "./object-opening.ts";
import type { ObjectVolume } from "./object-volume.ts";
import type { MemberFault } from "./volume-options.ts";
import { ALL_RULES } from "./owner-world.ts";
import type { OwnerEvent, OwnerWorld } from "./owner-world.ts";
import type { ResyncState } from "./resync-progress.ts";
import { failedAttemptOf, newReturning } from "./returning.ts";
import type { Returning } from "./returning.ts";
import { PolicyChange } from "./policy-change.ts";
import { Replacements } from "./replacements.ts";

const TICK_MS = 250;
/** While every copy is there and nothing is under way. */
const QUIET_TICK_MS = 1000;
/** A link notices within two seconds that nobody is at its other end. */
const WITNESS_MS_MAX = 3000;
/** A device that answers nothing for this long, while another one does, is given up: 10 s. */
const HUNG_TICKS = 40;
const RETRY_MS_MAX = 5000;
/** What is being made and finds no room so often is given up. */
const FULL_MAX = 3;
const FULL = "its device is full: delete or discard data there";
/** Blocks that wait to be written again over a bad copy. More are found by the next read. */
const REPAIRS_MAX = 256;

/** Done again if somebody else has changed the record meanwhile. */
export type RecordChange = (record: ObjectRecord) => ObjectRecord;

export interface MembersOwner {
  readonly record: () => ObjectRecord;
  /** By compare-and-swap, with other writes in the same transaction. */
  readonly swap: (change: RecordChange, also?: readonly DirectoryWrite[]) => Promise<void>;
  readonly stop: (reason: string) => void;
}

export class ObjectMembers {
  readonly #world: OwnerWorld;
  readonly #legs: Legs<Component>;
  readonly #volume: ObjectVolume;
  readonly #owner: MembersOwner;
  readonly #failing = new Set<LegMember>();
  readonly #returning = new Map<ObjectMember, Returning>();
  readonly #reopening = new Set<LegMember>();
  readonly #catchUps = new Map<ObjectMember, CatchUp>();
  readonly #repairs = new Set<number>();
  readonly #replacements: Replacements;
  readonly #policyChange: PolicyChange;
  #repairing: Promise<void> | undefined;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(world: OwnerWorld, legs: Legs<Component>, volume: ObjectVolume, owner: MembersOwner) {
    this.#world = world;
    this.#legs = legs;
    this.#volume = volume;
    this.#owner = owner;
    this.#replacements = new Replacements(world, legs, volume, owner);
    this.#policyChange = new PolicyChange(world, legs, volume, owner, this.#replacements);
  }

  start(): void {
    if (this.#isStopped) return;
    this.#replacements.start();
    this.#tickLater();
    this.#bringBack();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#policyChange.stop();
  }

  /** Resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.stop();
    await this.#policyChange.close();
    await this.#replacements.close();
    for (const { running } of this.#returning.values()) await running;
    await this.#repairing;
  }

  isCatchingUp(componentId: string): boolean {
    return this.#legs.members.some(
      (member) => member.componentId === componentId && member.role === "catching-up",
    );
  }

  /** How far a component has come that is being brought to the present, or will be again soon. */
  resyncOf(componentId: string): ResyncState | undefined {
    for (const [member, { progress }] of this.#returning)
      if (member.componentId === componentId) return progress.at(this.#world.clock.nowMs());
    return undefined;
  }

  /** As long as the next attempt to bring it to the present has not begun. */
  failedAttempt(componentId: string): string | undefined {
    for (const [member, returning] of this.#returning)
      if (member.componentId === componentId) return failedAttemptOf(returning);
    return undefined;
  }

  /** Why a component is not made anew or brought to the present, or undefined. */
  blockedReason(componentId: string): string | undefined {
    return (
      this.#replacements.blockedReason(componentId) ??
      this.#policyChange.blockedReason(componentId) ??
      (this.#isShortOfRoom(componentId) ? FULL : undefined)
    );
  }

  #isShortOfRoom(componentId: string): boolean {
    for (const [member, { fullCount }] of this.#returning)
      if (member.componentId === componentId && fullCount > 0) return true;
    return false;
  }

  /** A member lacks what others have. May be called again while that is being dealt with. */
  failed(member: LegMember, fault: MemberFault): void {
    if (this.#isStopped || member.role !== "active" || this.#failing.has(member)) return;
    this.#failing.add(member);
    member.isHollow = fault === "missing";
    this.#giveUp(member, fault)
      .catch((error: unknown) => {
        if (this.#isMember(member)) this.#owner.stop(errorText(error));
      })
      .finally(() => {
        this.#failing.delete(member);
        member.isHollow = false;
      });
  }

  #isMember(member: LegMember): boolean {
    return this.#legs.members.some((one) => one === member);
  }

  async #giveUp(member: LegMember, fault: MemberFault): Promise<void> {
    const { sizeBytes, name } = this.#owner.record();
    // Those that are just being given up, too, hold nothing that may be relied on.
    if (!this.#legs.covers(Math.ceil(sizeBytes / BLOCK_SIZE_BYTES), this.#failing)) {
      this.#owner.stop(`the last copy of ${name} cannot be written (${fault})`);
      return;
    }
    const minority = this.#rules.needsMajority ? await this.#minority(member) : undefined;
    if (minority !== undefined) {
      marks.hit("an owner in the minority stopped");
      this.#owner.stop(minority);
      return;
    }
    // Another policy may have taken its place meanwhile.
    if (!this.#isMember(member)) return;
    // Everything up to here was answered by everybody who was active, this member included.
    const since = this.#volume.watermark;
    if (this.#rules.marksStaleFirst) await this.#mark(member, { kind: "stale", since });
    member.role = "absent";
    this.#legs.rolesChanged();
    marks.hit("a copy was marked stale");
    this.#event("component-stale", "warning", member, `is stale: ${describe(fault)}`);
    this.#volume.memberDropped(member);
    // It is tried again soon.
    if (!this.#isStopped) this.#tickLater();
    if (!this.#rules.marksStaleFirst) await this.#mark(member, { kind: "stale", since });
  }

  /**
   * Going on without a copy is for those who reach most of the object: the others may be together
   * on the other side of a split network, where the object can be served by somebody else. Resolves
   * with why not, or with undefined.
   */
  async #minority(failing: LegMember): Promise<string | undefined> {
    const { tree, name } = this.#owner.record();
    const votes = await Promise.all(
      leavesOf(tree).map(async (leaf) => {
        const isThere = leaf.componentId !== failing.componentId && (await this.#answers(leaf));
        return isThere ? leaf.votes : 0;
      }),
    );
    const sum = votes.reduce((total, count) => total + count, 0);
    const all = votesOf(tree);
    return 2 * sum > all ? undefined : `only ${sum} of ${all} votes of ${name} are in reach`;
  }

  /**
   * Witnesses are asked: nobody else does, so that their ways may be broken without being known.
   */
  async #answers({ kind, componentId }: LeafNode): Promise<boolean> {
    const { components } = this.#owner.record();
    const entry = components.find((one) => one.componentId === componentId);
    const component = entry && this.#world.components(componentId, entry.hostId);
    if (component === undefined) return false;
    if (kind !== "witness") return true;
    return await new Promise<boolean>((resolve) => {
      const timer = this.#world.clock.after(WITNESS_MS_MAX, () => resolve(false));
      component
        .open(this.#volume.epoch)
        .then(
          () => resolve(true),
          () => resolve(false),
        )
        .finally(() => timer.cancel());
    });
  }

  get #rules(): NonNullable<OwnerWorld["rules"]> {
    return this.#world.rules ?? ALL_RULES;
  }

  async #mark(member: LegMember, state: ComponentState): Promise<void> {
    const { componentId } = member;
    await this.#owner.swap((record) => {
      if (record.components.every((entry) => entry.componentId !== componentId))
        throw new CodedError({ code: "not-stale", message: "the record does not name it" });
      return {
        ...record,
        components: record.components.map((entry) =>
          entry.componentId === componentId ? { ...entry, state } : entry,
        ),
      };
    });
  }

  #entryOf(member: LegMember): ComponentRecord | undefined {
    const { components } = this.#owner.record();
    return components.find(({ componentId }) => componentId === member.componentId);
  }

  /** All objects tick at the same moments: a host of many idle ones wakes up once for all. */
  #tickLater(): void {
    this.#timer?.cancel();
    const { clock } = this.#world;
    const periodMs = this.#isQuiet ? QUIET_TICK_MS : TICK_MS;
    const delayMs = periodMs - (clock.nowMs() % periodMs);
    this.#timer = clock.after(delayMs, () => this.#tick());
  }

  get #isQuiet(): boolean {
    if (!this.#volume.isIdle || this.#catchUps.size > 0) return false;
    if (this.#owner.record().change !== undefined) return false;
    return this.#legs.members.every(({ role }) => role === "active");
  }

  #tick(): void {
    if (this.#isStopped) return;
    this.#tickLater();
    this.#volume.tick(HUNG_TICKS);
    this.#replacements.tick();
    this.#policyChange.tick();
    for (const catchUp of this.#catchUps.values()) catchUp.tick();
    this.#bringBack();
  }

  /** Tries those that are absent and whose time has come. */
  #bringBack(): void {
    const nowMs = this.#world.clock.nowMs();
    for (const member of this.#legs.members) {
      const entry = this.#entryOf(member);
      if (entry === undefined) continue;
      if (member.role === "active") this.#reopen(member, entry.hostId);
      if (member.role !== "absent") continue;
      if (entry.state.kind === "joining" && !this.#policyChange.mayJoin(member)) continue;
      let returning = this.#returning.get(member);
      if (returning === undefined) {
        returning = newReturning(this.#world, entry.state.kind);
        this.#returning.set(member, returning);
      }
      if (returning.running !== undefined || nowMs < returning.nextMs) continue;
      const component = this.#world.components(member.componentId, entry.hostId);
      if (component !== undefined) this.#return(member, component, returning);
    }
  }

  /**
   * The way to it broke while nothing was under way, and is there again. Its host may have started
   * anew: it has to hear of the epoch, and to say that it still holds what it should.
   */
  #reopen(member: ObjectMember, hostId: string): void {
    if (member.component?.isOpen !== false || this.#reopening.has(member)) return;
    const component = this.#world.components(member.componentId, hostId);
    if (component === undefined) return;
    this.#reopening.add(member);
    component
      .open(this.#volume.epoch)
      .then(({ isComplete, preparedSequence, committedSequence }) => {
        member.component = component;
        this.#legs.rolesChanged();
        // A disk may have lost what it had said to hold.
        const held = Math.max(preparedSequence, committedSequence);
        if (!isComplete || held < member.durableSequence) this.failed(member, "missing");
        else if (member.role === "active") this.#tellDecided(component, committedSequence);
      })
      .catch((error: unknown) => {
        if (isFenced(error)) this.#volume.stop("not-owner");
        // Whatever else it is, it is tried again.
        else if (isMissing(error)) this.failed(member, "missing");
      })
      .finally(() => this.#reopening.delete(member));
  }

  /**
   * The last watermark may have been lost with the way to it. Without another write nothing would
   * ever carry it again, and what is undecided there holds up all that came after it on its device.
   */
  #tellDecided(component: Component, committedSequence: number): void {
    const { epoch, watermark } = this.#volume;
    if (committedSequence >= watermark) return;
    marks.hit("a copy was told again what is decided");
    component.commit(epoch, watermark);
    component.submit();
  }

  #return(member: ObjectMember, component: Component, returning: Returning): void {
    const running = this.#tryReturn(member, component, returning)
      .then(() => this.#returning.delete(member))
      .catch((error: unknown) => {
        if (isFenced(error)) this.#volume.stop("not-owner");
        returning.running = undefined;
        returning.failedCount++;
        returning.failure = errorText(error);
        returning.nextMs = this.#world.clock.nowMs() + returning.delayMs;
        returning.delayMs = Math.min(2 * returning.delayMs, RETRY_MS_MAX);
        this.#world.log.write("info", `a component did not catch up: ${errorText(error)}`, {
          componentId: member.componentId,
        });
        return isFull(error) ? this.#ranFull(member, returning) : undefined;
      });
    returning.running = running.then(() => {});
  }

  /** It waits for room, unless it is only being made: then it is made elsewhere. */
  async #ranFull(member: ObjectMember, returning: Returning): Promise<void> {
    const fullCount = ++returning.fullCount;
    if (fullCount === 1) this.#event("repair-blocked", "warning", member, `waits: ${FULL}`);
    if (fullCount < FULL_MAX || this.#isStopped) return;
    try {
      await this.#replacements.ranFull(member.componentId);
    } catch (error) {
      // The next attempt finds no room either.
      const { componentId } = member;
      this.#world.log.write("warning", `it is not given up: ${errorText(error)}`, { componentId });
    }
  }

  async #tryReturn(
    member: ObjectMember,
    component: Component,
    { progress }: Returning,
  ): Promise<void> {
    const state = this.#entryOf(member)?.state;
    if (state === undefined || state.kind === "active")
      throw new CodedError({ code: "not-stale", message: "the record does not call it stale" });
    const opening = await component.open(this.#volume.epoch);
    member.component = component;
    // It may have heard of numbers as decided that no copy has: of writes that failed everywhere.
    await this.#volume.numberAbove(Math.max(opening.preparedSequence, opening.committedSequence));
    const isNew = state.kind === "building" || state.kind === "joining";
    // A disk that went back in time holds less than the directory says.
    const since = isNew ? 0 : Math.min(state.since, sinceOf(opening, state.since));
    const { clock, transferMemory, replacing } = this.#world;
    const catchUp = new CatchUp(
      {
        legs: this.#legs,
        volume: this.#volume,
        epoch: this.#volume.epoch,
        clock,
        memory: transferMemory,
        exchange: {
          pace: this.#world.pace,
          offersFingerprints: this.#world.offersFingerprints?.() !== false,
          isAlone: () => transferMemory.resyncCount <= 1,
          isGivenUp: () => this.#isStopped,
        },
        progress,
        ...(state.kind === "joining"
          ? { together: (catchUp) => this.#policyChange.follow(member, catchUp) }
          : {}),
        activate: (one) => this.#activate(one),
        onMismatch: (one, regions) => this.#mismatch(one, regions),
        rules: {
          isVerified: this.#rules.verifiesCatchUp,
          isFilteredByRange: this.#rules.filtersByRange,
        },
      },
      member,
    );
    this.#catchUps.set(member, catchUp);
    transferMemory.resyncCount++;
    try {
      await catchUp.run(since);
      const went = progress.at(clock.nowMs());
      if (isNew && went !== undefined) replacing?.onMade(went);
    } finally {
      this.#catchUps.delete(member);
      transferMemory.resyncCount--;
    }
    if (state.kind === "joining") return;
    const what = state.kind === "building" ? "was made anew" : "has caught up";
    this.#event("component-active", "info", member, what);
    await this.#replacements.returned(member.componentId);
  }

  /** No change is under way. */
  async #activate(member: ObjectMember): Promise<void> {
    try {
      if (this.#entryOf(member)?.state.kind === "building") await this.#replacements.finish(member);
      else await this.#mark(member, { kind: "active" });
    } catch (error) {
      // It may have happened, or happen yet: nothing is answered without the member before the
      // record is known not to call it active.
      await this.#disown(member).catch((second: unknown) => this.#owner.stop(errorText(second)));
      throw error;
    }
  }

  /** Done again on the record as it is: somebody may have heard that the member is active. */
  async #disown(member: LegMember): Promise<void> {
    const since = this.#volume.watermark;
    const isOurs = (entry: ComponentRecord): boolean =>
      entry.componentId === member.componentId && entry.state.kind !== "building";
    await this.#owner.swap((record) => ({
      ...record,
      components: record.components.map((entry) =>
        isOurs(entry) ? { ...entry, state: { kind: "stale", since } } : entry,
      ),
    }));
  }

  #mismatch(member: ObjectMember, regions: readonly number[]): void {
    const message = `differed from its mirrors in ${regions.length} regions, which were sent again`;
    this.#event("copies-differed", "error", member, message);
  }

  /** Blocks of which one copy was bad and another good are written again. */
  repair(firstBlock: number, endBlock: number): void {
    for (let block = firstBlock; block < endBlock && this.#repairs.size < REPAIRS_MAX; block++)
      this.#repairs.add(block);
    if (this.#isStopped) return;
    this.#repairing ??= this.#repairAll().finally(() => {
      this.#repairing = undefined;
    });
  }

  async #repairAll(): Promise<void> {
    for (const block of this.#repairs) {
      if (this.#isStopped) break;
      this.#repairs.delete(block);
      await this.#volume.rewrite(block);
    }
  }

  #event(
    kind: OwnerEvent["kind"],
    level: OwnerEvent["level"],
    member: LegMember,
    what: string,
  ): void {
    const { objectId, name } = this.#owner.record();
    const { componentId } = member;
    const message = `component ${componentId} of ${name} ${what}`;
    this.#world.addEvent({ kind, level, message, details: { objectId, componentId } });
    this.#world.log.write(level, message, { event: kind });
  }
}

function isFull(error: unknown): boolean {
  return error instanceof CodedError && error.code === "no-space";
}

/** What the component itself is sure to hold, if that is less than it should. */
function sinceOf(
  opening: { readonly committedSequence: number; readonly preparedSequence: number },
  since: number,
): number {
  const isBehind = Math.max(opening.preparedSequence, opening.committedSequence) < since;
  return isBehind ? opening.committedSequence : since;
}

function isMissing(error: unknown): boolean {
  return error instanceof CodedError && error.code === "component-missing";
}

function describe(fault: MemberFault): string {
  if (fault === "missing") return "its device does not hold it";
  if (fault === "unreachable") return "its host cannot be reached";
  if (fault === "hung") return "its device does not answer";
  if (fault === "no-space") return "its device is full";
  return `its device has failed (${fault})`;
}
