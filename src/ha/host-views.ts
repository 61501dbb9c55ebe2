/**
 * What each host that runs machines reaches over the storage network, as it says itself in the
 * directory, under its lease: written when it changes, so whoever reads and then watches misses
 * nothing, and the record's revision is the version.
 */
import { directoryKeys } from "../cluster/index.ts";
import type { Directory } from "../ports/index.ts";
import type { VmCapacity, VmReach } from "./vm-storage.ts";

const NOTHING: VmCapacity = { memoryBytes: 0, cpuCount: 0 };

export interface HostView extends VmReach {
  readonly capacity: VmCapacity;
  readonly hostId: string;
}

/** Hosts that look after machines: those whose leases for that live. */
export async function hostsOnDuty(
  directory: Directory,
  clusterId: string,
): Promise<readonly string[]> {
  const prefix = directoryKeys.vmHosts(clusterId);
  const { records } = await directory.list(prefix);
  return records.map(({ key }) => key.slice(prefix.length));
}

export class HostViews {
  readonly #views: ReadonlyMap<string, HostView>;
  /** Grows with every change of any of them. */
  readonly version: number;

  constructor(views: readonly HostView[], version: number) {
    this.#views = new Map(views.map((view) => [view.hostId, view]));
    this.version = version;
  }

  static async read(directory: Directory, clusterId: string): Promise<HostViews> {
    const prefix = directoryKeys.vmViews(clusterId);
    const { records } = await directory.list(prefix);
    const views = records.map(({ key, value }) => ({
      // What a host of the same version has written.
      ...(JSON.parse(value) as Omit<HostView, "hostId">),
      hostId: key.slice(prefix.length),
    }));
    return new HostViews(views, Math.max(0, ...records.map(({ revision }) => revision)));
  }

  /** Why the machine cannot run on that host, or undefined if it can. */
  whyNot(hostId: string, vm: string): string | undefined {
    const view = this.#views.get(hostId);
    if (view === undefined) return "it has not said yet what it reaches";
    return view.inaccessible.find((one) => one.vm === vm)?.reason;
  }

  /** For all machines together; nothing, if it says nothing. */
  capacityOf(hostId: string): VmCapacity {
    return this.#views.get(hostId)?.capacity ?? NOTHING;
  }

  /** Hosts that it reaches over the storage network, as it says; none if it says nothing. */
  reachedFrom(hostId: string): readonly string[] {
    return this.#views.get(hostId)?.reaches ?? [];
  }

  /** Hosts of one storage partition say the same here. Undefined: not known. */
  partitionOf(hostId: string): string | undefined {
    return this.#views.get(hostId)?.reaches.toSorted().join(" ");
  }
}
