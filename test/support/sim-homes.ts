/**
 * The storage layer as HA sees it, with a storage network that can be split: each machine's objects
 * lie on some hosts, and are reached from where more than half of those are.
 */
import { CodedError } from "../../src/base/index.ts";
import type { VmRecord } from "../../src/cluster/index.ts";
import type { HaPeers, ProtectionState, VmReach, VmStorage } from "../../src/ha/index.ts";
import type { Clock } from "../../src/ports/index.ts";

const CALL_MS = 20;

export interface HaMessage {
  readonly kind: "query" | "persist" | "retrieve";
  readonly to: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export class SimHomes {
  readonly #clock: Clock;
  readonly #hosts: readonly string[];
  #groups: readonly (readonly string[])[];
  /** What machines' homes say. */
  readonly homes: Map<string, ProtectionState> = new Map();
  /** Hosts of a machine's objects; all of them if it is not here. */
  readonly places: Map<string, readonly string[]> = new Map();
  readonly messages: HaMessage[] = [];
  /** Homes can be reached and not be written. */
  isReadOnly = false;
  /** Finds the record of a machine for a host that is asked about it. */
  find: (vm: string) => Promise<VmRecord> = () => Promise.reject(new Error("nobody looks"));

  constructor(clock: Clock, hosts: readonly string[]) {
    this.#clock = clock;
    this.#hosts = hosts;
    this.#groups = [hosts];
  }

  split(...groups: readonly (readonly string[])[]): void {
    this.#groups = groups;
  }

  heal(): void {
    this.#groups = [this.#hosts];
  }

  isAccessible(hostId: string, vm: string): boolean {
    const places = this.places.get(vm) ?? this.#hosts;
    const reached = this.#reachedFrom(hostId);
    return 2 * places.filter((place) => reached.includes(place)).length > places.length;
  }

  storageOf(hostId: string): VmStorage {
    return {
      reach: async (vms) => this.#reach(hostId, vms),
      persist: async ({ name, protectionSequence: sequence, isProtected }) => {
        await this.#pass();
        if (this.isReadOnly || !this.isAccessible(hostId, name))
          throw new CodedError({ code: "object-inaccessible", message: `no quorum of ${name}` });
        const newest = this.homes.get(name)?.sequence ?? -1;
        if (newest < sequence) this.homes.set(name, { vm: name, sequence, isProtected });
      },
      retrieve: async (vms) => {
        await this.#pass();
        const found = vms.filter((vm) => this.isAccessible(hostId, vm));
        return found.map((vm) => this.homes.get(vm)).filter((state) => state !== undefined);
      },
    };
  }

  peers(): HaPeers {
    const ask = async <T>(kind: HaMessage["kind"], to: string, work: () => Promise<T>) => {
      const fromMs = this.#clock.nowMs();
      await this.#pass();
      const answer = await work();
      this.messages.push({ kind, to, fromMs, toMs: this.#clock.nowMs() });
      return answer;
    };
    return {
      isAccessible: (to, vm) => ask("query", to, async () => this.isAccessible(to, vm)),
      persist: (to, vm) =>
        ask("persist", to, async () => this.storageOf(to).persist(await this.find(vm))),
      retrieve: (to, vms) => ask("retrieve", to, () => this.storageOf(to).retrieve(vms)),
    };
  }

  #reachedFrom(hostId: string): readonly string[] {
    return this.#groups.find((group) => group.includes(hostId)) ?? [hostId];
  }

  #reach(hostId: string, vms: readonly VmRecord[]): VmReach {
    const lost = vms.filter(({ name }) => !this.isAccessible(hostId, name));
    return {
      reaches: this.#reachedFrom(hostId),
      inaccessible: lost.map(({ name }) => ({ vm: name, reason: "too few votes are in reach" })),
    };
  }

  #pass(): Promise<void> {
    return new Promise((resolve) => void this.#clock.after(CALL_MS, resolve));
  }
}
