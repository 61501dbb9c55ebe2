/**
 * What the storage layer of this host tells HA about virtual machines, and keeps for it: which of
 * them it reaches all objects of, and their homes in the object store.
 */
import { CodedError, firstNotBefore } from "../base/index.ts";
import { directoryKeys } from "../cluster/index.ts";
import type { ObjectPolicy, ObjectRecord } from "../cluster/index.ts";
import { inaccessibility } from "./accessibility.ts";
import type { HostPlane } from "./host-plane.ts";
import { namespaceName } from "./namespace-objects.ts";
import type { NamespaceState } from "./namespace-objects.ts";

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

export class VmHomes {
  readonly #plane: HostPlane;
  readonly #reasonAgainst: () => string | undefined;
  #reached: ReadonlySet<string> = new Set();
  /** Whether each object is accessible with the hosts that are reached: asked every second. */
  #reasons = new WeakMap<ObjectRecord, { readonly reason: string | undefined }>();

  /** `reasonAgainst`: why encrypted volumes cannot be served on this host. */
  constructor(plane: HostPlane, reasonAgainst: () => string | undefined) {
    this.#plane = plane;
    this.#reasonAgainst = reasonAgainst;
  }

  async reach(vms: readonly VmObjects[]): Promise<VmReachReport> {
    const { hosts } = this.#plane;
    const records = await this.#plane.objects.values();
    const reaches = hosts.records.map(({ hostId }) => hostId).filter((id) => hosts.isReachable(id));
    this.#nowReached(reaches);
    const inaccessible: { readonly vm: string; readonly reason: string }[] = [];
    for (const { vm, volumes } of vms) {
      const reason = this.#whyNot(vm, volumes, records);
      if (reason !== undefined) inaccessible.push({ vm, reason });
    }
    return { reaches: reaches.toSorted(), inaccessible };
  }

  #whyNot(
    vm: string,
    volumes: readonly string[],
    records: readonly ObjectRecord[],
  ): string | undefined {
    const home = namespaceName(vm);
    // A machine that was just defined has no home yet.
    const names = recordNamed(records, home) !== undefined ? [...volumes, home] : volumes;
    for (const name of names) {
      const record = recordNamed(records, name);
      if (record === undefined) return `there is no volume ${name}`;
      const why = this.#inaccessibility(record);
      if (why !== undefined) return why;
      const reason = record.encryption && this.#reasonAgainst();
      if (reason !== undefined) return `${name} is encrypted: ${reason}`;
    }
    return undefined;
  }

  #nowReached(reaches: readonly string[]): void {
    const isSame =
      reaches.length === this.#reached.size && reaches.every((id) => this.#reached.has(id));
    if (isSame) return;
    this.#reached = new Set(reaches);
    this.#reasons = new WeakMap();
  }

  #inaccessibility(record: ObjectRecord): string | undefined {
    let known = this.#reasons.get(record);
    if (known === undefined) {
      known = { reason: inaccessibility(record, (hostId) => this.#reached.has(hostId)) };
      this.#reasons.set(record, known);
    }
    return known.reason;
  }

  /** A machine without disks has no home: what the directory says of it is all there is. */
  async persist({ state, volumes }: VmPersistRequest): Promise<void> {
    if (volumes.length === 0) return;
    const { namespaces, objects } = this.#plane;
    const home = await namespaces.persist(state, await this.#policyFor(volumes));
    // Whoever has deleted the machine meanwhile has found no home, or one that was not there yet.
    if (!(await this.#isDefined(state.vm))) await this.forget(state.vm);
    // Its home may be new, and is to be reached from now on.
    const { clusterId } = this.#plane.ownerWorld();
    await objects.include(directoryKeys.object(clusterId, home.objectId));
  }

  /** Of those that are reached from here. */
  async retrieve(vms: readonly string[]): Promise<readonly NamespaceState[]> {
    const found: NamespaceState[] = [];
    for (const vm of vms) {
      try {
        const state = await this.#plane.namespaces.retrieve(vm);
        if (state !== undefined) found.push(state);
      } catch (error) {
        // Another host may reach it: it is asked, too.
        if (!(error instanceof CodedError)) throw error;
      }
    }
    return found;
  }

  async forget(vm: string): Promise<void> {
    await this.#plane.namespaces.remove(vm);
  }

  async #isDefined(vm: string): Promise<boolean> {
    const { directory, clusterId } = this.#plane.ownerWorld();
    return (await directory.get(directoryKeys.vm(clusterId, vm))) !== undefined;
  }

  /** Its home survives what its disks survive. */
  async #policyFor(volumes: readonly string[]): Promise<ObjectPolicy> {
    const records = await this.#plane.objects.values();
    const failures = volumes.map(
      (name) => recordNamed(records, name)?.policy.failuresToTolerate ?? 0,
    );
    return { failuresToTolerate: Math.max(...failures), stripes: 1 };
  }
}

/** `records` are in the order of their names. */
function recordNamed(records: readonly ObjectRecord[], name: string): ObjectRecord | undefined {
  const found = records[firstNotBefore(records, name, (record) => record.name)];
  return found?.name === name ? found : undefined;
}
