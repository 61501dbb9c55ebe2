/**
 * What the storage layer of this host tells HA about virtual machines, and keeps for it: which of
 * them it reaches all objects of, and their homes in the object store.
 */
import { CodedError } from "../base/index.ts";
import { listVolumes } from "../cluster/index.ts";
import type { ObjectPolicy, ObjectRecord } from "../cluster/index.ts";
import type { Clock, Directory } from "../ports/index.ts";
import { inaccessibility } from "./accessibility.ts";
import type { HostPlane } from "./host-plane.ts";
import { namespaceName } from "./namespace-objects.ts";
import type { NamespaceState } from "./namespace-objects.ts";

/** How old records may be: what is reached is looked at anew each time. */
const RECORDS_MS_MAX = 1000;

export interface VmObjects {
  readonly vm: string;
  /** Names of volumes. */
  readonly volumes: readonly string[];
}

export interface VmReachReport {
  readonly reaches: readonly string[];
  readonly inaccessible: readonly { readonly vm: string; readonly reason: string }[];
}

export interface VmPersistRequest {
  readonly state: NamespaceState;
  readonly volumes: readonly string[];
}

export interface VmHomesWorld {
  readonly plane: HostPlane;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly clusterId: string;
}

export class VmHomes {
  readonly #world: VmHomesWorld;
  #records: ReadonlyMap<string, ObjectRecord> = new Map();
  #readMs = -Infinity;

  constructor(world: VmHomesWorld) {
    this.#world = world;
  }

  async reach(vms: readonly VmObjects[]): Promise<VmReachReport> {
    const { hosts } = this.#world.plane;
    const records = await this.#objects();
    const reaches = hosts.records.map(({ hostId }) => hostId).filter((id) => hosts.isReachable(id));
    const reached = new Set(reaches);
    const inaccessible: { readonly vm: string; readonly reason: string }[] = [];
    for (const { vm, volumes } of vms) {
      const reason = this.#whyNot(vm, volumes, records, reached);
      if (reason !== undefined) inaccessible.push({ vm, reason });
    }
    return { reaches: reaches.toSorted(), inaccessible };
  }

  #whyNot(
    vm: string,
    volumes: readonly string[],
    records: ReadonlyMap<string, ObjectRecord>,
    reached: ReadonlySet<string>,
  ): string | undefined {
    const home = namespaceName(vm);
    // A machine that was just defined has no home yet.
    const names = records.has(home) ? [...volumes, home] : volumes;
    for (const name of names) {
      const record = records.get(name);
      if (record === undefined) return `there is no volume ${name}`;
      const why = inaccessibility(record, (hostId) => reached.has(hostId));
      if (why !== undefined) return why;
    }
    return undefined;
  }

  /** A machine without disks has no home: what the directory says of it is all there is. */
  async persist({ state, volumes }: VmPersistRequest): Promise<void> {
    if (volumes.length === 0) return;
    await this.#world.plane.namespaces.persist(state, await this.#policyFor(volumes));
    this.#readMs = -Infinity;
  }

  /** Of those that are reached from here. */
  async retrieve(vms: readonly string[]): Promise<readonly NamespaceState[]> {
    const found: NamespaceState[] = [];
    for (const vm of vms) {
      try {
        const state = await this.#world.plane.namespaces.retrieve(vm);
        if (state !== undefined) found.push(state);
      } catch (error) {
        // Another host may reach it: it is asked, too.
        if (!(error instanceof CodedError)) throw error;
      }
    }
    return found;
  }

  async forget(vm: string): Promise<void> {
    await this.#world.plane.namespaces.remove(vm);
  }

  /** Its home survives what its disks survive. */
  async #policyFor(volumes: readonly string[]): Promise<ObjectPolicy> {
    const records = await this.#objects();
    const failures = volumes.map((name) => records.get(name)?.policy.failuresToTolerate ?? 0);
    return { failuresToTolerate: Math.max(...failures), stripes: 1 };
  }

  async #objects(): Promise<ReadonlyMap<string, ObjectRecord>> {
    const { directory, clusterId, clock } = this.#world;
    if (clock.nowMs() - this.#readMs > RECORDS_MS_MAX) {
      const records = await listVolumes(directory, clusterId);
      this.#records = new Map(records.map((record) => [record.name, record]));
      this.#readMs = clock.nowMs();
    }
    return this.#records;
  }
}
