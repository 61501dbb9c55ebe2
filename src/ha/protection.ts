/**
 * Makes what is wanted for machines outlive any master, also while the storage network is split and
 * the management network is not (US9513946B2, US10949245B2): the master writes it through its own
 * storage layer into the machine's home; where that does not reach it, it asks other HA modules in
 * parallel whether theirs does, and has one that says yes make the call. Ordered by a sequence, so
 * a late one changes nothing. A machine counts as protected only after that. When nobody reaches
 * its home the next change of what hosts reach begins anew.
 */
import { errorText } from "../base/index.ts";
import type { VmRecord } from "../cluster/index.ts";
import type { Clock } from "../ports/index.ts";
import type { UnderRules } from "./ha-rules.ts";
import type { HostViews } from "./host-views.ts";
import type { HaPeers, ProtectionState, VmStorage } from "./vm-storage.ts";

const LOCAL_MS_MAX = 3000;
const QUERY_MS_MAX = 1000;
const DELEGATE_MS_MAX = 5000;
/** Hosts asked at once about one machine. */
const FAN_OUT = 8;
const JOBS_MAX = 8;
/** Without a change of what hosts reach: whatever was missed. */
const RETRY_MS = 30_000;

export interface ProtectionWorld extends UnderRules {
  readonly hostId: string;
  readonly clock: Clock;
  readonly storage: VmStorage;
  readonly peers: HaPeers;
  readonly nameOf: (hostId: string) => string;
  /** It is in the machine's home now, at this sequence; who wrote it, and why not the master. */
  readonly persisted: (vm: string, sequence: number, because: string) => Promise<void>;
  /** Nobody reaches the machine's home. */
  readonly waits: (vm: string, sequence: number, because: string) => Promise<void>;
  readonly note: (error: unknown) => void;
}

interface Waiting {
  readonly sequence: number;
  readonly version: number;
  readonly untilMs: number;
}

export class ProtectionKeeper {
  readonly #world: ProtectionWorld;
  readonly #running = new Set<string>();
  readonly #waiting = new Map<string, Waiting>();
  #version = 0;

  constructor(world: ProtectionWorld) {
    this.#world = world;
  }

  /** Begins what is to be done and is not under way. `hosts` are those that live. */
  keep(vms: readonly VmRecord[], hosts: readonly string[], views: HostViews): void {
    this.#version = views.version;
    const names = new Set(vms.map(({ name }) => name));
    for (const name of this.#waiting.keys()) if (!names.has(name)) this.#waiting.delete(name);
    for (const vm of vms) {
      if (vm.persistedSequence === vm.protectionSequence || this.#running.has(vm.name)) continue;
      if (this.#running.size >= JOBS_MAX) return;
      if (this.#mustWait(vm, views)) continue;
      this.#running.add(vm.name);
      this.#persist(vm, hosts, views)
        .catch((error: unknown) => this.#world.note(error))
        .finally(() => this.#running.delete(vm.name));
    }
  }

  /**
   * What machines' homes say, from all sides of a split storage network: of several answers about
   * one machine the newest counts.
   */
  async retrieve(
    vms: readonly string[],
    hosts: readonly string[],
  ): Promise<ReadonlyMap<string, ProtectionState>> {
    const { storage, peers, hostId } = this.#world;
    const others = hosts.filter((one) => one !== hostId);
    const asked = [
      storage.retrieve(vms),
      ...others.map((other) => this.#within(DELEGATE_MS_MAX, peers.retrieve(other, vms))),
    ];
    const newest = new Map<string, ProtectionState>();
    for (const answer of await Promise.allSettled(asked)) {
      if (answer.status === "rejected") continue;
      for (const state of answer.value)
        if (state.sequence > (newest.get(state.vm)?.sequence ?? -1)) newest.set(state.vm, state);
    }
    return newest;
  }

  #mustWait({ name, protectionSequence }: VmRecord, { version }: HostViews): boolean {
    const waiting = this.#waiting.get(name);
    if (waiting === undefined || waiting.sequence !== protectionSequence) return false;
    return waiting.version === version && this.#world.clock.nowMs() < waiting.untilMs;
  }

  async #persist(vm: VmRecord, hosts: readonly string[], views: HostViews): Promise<void> {
    const { storage, hostId, nameOf, persisted, waits, clock, rules } = this.#world;
    const { name, protectionSequence: sequence } = vm;
    if (rules?.isPersistedFirst === false) await persisted(name, sequence, "it will be");
    let why = views.whyNot(hostId, name);
    if (why === undefined) {
      try {
        await this.#within(LOCAL_MS_MAX, storage.persist(vm));
        return await persisted(name, sequence, "it is in its home in the object store");
      } catch (error) {
        why = errorText(error);
      }
    }
    const here = `${nameOf(hostId)} cannot write it: ${why}`;
    const asked = rules?.areOthersAsked === false ? [] : hosts;
    const through = await this.#delegate(vm, asked, views);
    if (through !== undefined) {
      await persisted(name, sequence, `${nameOf(through)} has written it into its home; ${here}`);
      return;
    }
    const untilMs = clock.nowMs() + RETRY_MS;
    // What has changed while they were asked may have been too late for their answers.
    const version = rules?.isWaitingSinceAsked === false ? this.#version : views.version;
    this.#waiting.set(name, { sequence, version, untilMs });
    await waits(name, sequence, `no host reaches its home in the object store; ${here}`);
  }

  /** Resolves with who has done it, or with undefined. */
  async #delegate(
    vm: VmRecord,
    hosts: readonly string[],
    views: HostViews,
  ): Promise<string | undefined> {
    for (const batch of this.#batches(vm, hosts, views)) {
      const yes = await this.#whoReaches(vm.name, batch);
      for (const hostId of yes) {
        try {
          const call = this.#world.peers.persist(hostId, vm.name, vm.protectionSequence);
          await this.#within(DELEGATE_MS_MAX, call);
          return hostId;
        } catch {
          // It reached the home a moment ago: the next one that said yes may still do so.
        }
      }
    }
    return undefined;
  }

  async #whoReaches(vm: string, hosts: readonly string[]): Promise<readonly string[]> {
    const answers = hosts.map(async (hostId) => {
      const isYes = await this.#within(QUERY_MS_MAX, this.#world.peers.isAccessible(hostId, vm));
      return isYes ? hostId : undefined;
    });
    const settled = await Promise.allSettled(answers);
    return settled
      .map((answer) => (answer.status === "fulfilled" ? answer.value : undefined))
      .filter((hostId) => hostId !== undefined);
  }

  /** First its own host and one of each storage partition, then the rest. */
  #batches(vm: VmRecord, hosts: readonly string[], views: HostViews): readonly string[][] {
    const others = hosts.filter((hostId) => hostId !== this.#world.hostId);
    const first = new Set(others.filter((hostId) => hostId === vm.hostId));
    const seen = new Set([views.partitionOf(this.#world.hostId)]);
    for (const hostId of first) seen.add(views.partitionOf(hostId));
    for (const hostId of others) {
      const partition = views.partitionOf(hostId);
      if (seen.has(partition)) continue;
      seen.add(partition);
      first.add(hostId);
    }
    const rest = others.filter((hostId) => !first.has(hostId));
    const batches: string[][] = [];
    for (const group of [[...first], rest])
      for (let at = 0; at < group.length; at += FAN_OUT)
        batches.push(group.slice(at, at + FAN_OUT));
    return batches;
  }

  #within<T>(ms: number, work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.#world.clock.after(ms, () => reject(new Error(`no answer in ${ms} ms`)));
      work.then(resolve, reject).finally(() => timer.cancel());
    });
  }
}
