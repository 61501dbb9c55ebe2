/**
 * What each host that runs machines reaches over the storage network, as it says itself in the
 * directory, under its lease: written when it changes, so whoever reads and then watches misses
 * nothing, and the record's revision is the version.
 */
import { CodedError } from "../base/index.ts";
import { directoryKeys, RecordFields } from "../cluster/index.ts";
import type { VmRecord } from "../cluster/index.ts";
import { leaseTtlOf } from "../plane/index.ts";
import type { Directory } from "../ports/index.ts";
import type { VmCapacity, VmReach } from "./vm-storage.ts";

/** Far more than a cluster has, of hosts and of machines. */
const LIST_MAX = 100_000;
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

export interface UnheardHosts {
  /** Those that may run machines on without their leases, heard or not. */
  readonly unbound: ReadonlySet<string>;
  /** Those that are no longer of the cluster. */
  readonly removed: ReadonlySet<string>;
}

export const NOBODY_UNHEARD: UnheardHosts = { unbound: new Set(), removed: new Set() };

/** What is to be known of hosts whose leases have ended. Fails as the directory does. */
export async function unheardHosts(directory: Directory, clusterId: string): Promise<UnheardHosts> {
  const idsBelow = async (prefix: string): Promise<ReadonlySet<string>> => {
    const { records } = await directory.list(prefix);
    return new Set(records.map(({ key }) => key.slice(prefix.length)));
  };
  const [unbound, removed] = await Promise.all([
    idsBelow(directoryKeys.vmsUnbound(clusterId)),
    idsBelow(directoryKeys.revokedHosts(clusterId)),
  ]);
  return { unbound, removed };
}

/**
 * Hosts that must be heard before high availability is armed, since they may go by what was before
 * and run machines that would be started a second time: in the order of their ids.
 */
export function unheardWithMachines(
  vms: readonly VmRecord[],
  alive: readonly string[],
  removed: ReadonlySet<string>,
): readonly string[] {
  const hosts = vms.map(({ hostId }) => hostId).filter((hostId) => hostId !== undefined);
  const unheard = hosts.filter((hostId) => !alive.includes(hostId) && !removed.has(hostId));
  return [...new Set(unheard)].toSorted();
}

/** The longest of the leases by which the host's volumes and machines are taken to be alive. */
export async function longestLeaseMs(
  directory: Directory,
  clusterId: string,
  hostId: string,
): Promise<number> {
  const keys = [directoryKeys.alive(clusterId, hostId), directoryKeys.vmHost(clusterId, hostId)];
  const leases = await Promise.all(keys.map((key) => directory.get(key)));
  return Math.max(...leases.map((lease) => leaseTtlOf(lease?.value)));
}

/** Fails with a CodedError if another version wrote it, or it is damaged. */
function parseView(hostId: string, value: string): HostView {
  const fields = RecordFields.parse(`what ${hostId} says it reaches`, value, 1);
  const capacity = fields.child("capacity");
  return {
    hostId,
    reaches: fields.texts("reaches", LIST_MAX),
    inaccessible: fields
      .children("inaccessible", LIST_MAX)
      .map((one) => ({ vm: one.text("vm"), reason: one.anyText("reason") })),
    capacity: {
      memoryBytes: capacity.amount("memoryBytes"),
      cpuCount: capacity.amount("cpuCount"),
    },
  };
}

export class HostViews {
  readonly #views: ReadonlyMap<string, HostView>;
  /** Of hosts whose views cannot be read: they count as having said nothing. */
  readonly #unreadable: ReadonlyMap<string, string>;
  /** Grows with every change of any of them. */
  readonly version: number;
  readonly #isDeaf: boolean;

  /** `isDeaf`: without what is heard in storage, for trials. */
  constructor(
    views: readonly HostView[],
    version: number,
    isDeaf = false,
    unreadable: ReadonlyMap<string, string> = new Map(),
  ) {
    this.#unreadable = unreadable;
    this.#isDeaf = isDeaf;
    this.#views = new Map(views.map((view) => [view.hostId, view]));
    this.version = version;
  }

  static async read(directory: Directory, clusterId: string, isDeaf = false): Promise<HostViews> {
    const prefix = directoryKeys.vmViews(clusterId);
    const { records } = await directory.list(prefix);
    const views: HostView[] = [];
    const unreadable = new Map<string, string>();
    for (const { key, value } of records) {
      const hostId = key.slice(prefix.length);
      try {
        views.push(parseView(hostId, value));
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        unreadable.set(hostId, error.message);
      }
    }
    const version = Math.max(0, ...records.map(({ revision }) => revision));
    return new HostViews(views, version, isDeaf, unreadable);
  }

  /** Why the machine cannot run on that host, or undefined if it can. */
  whyNot(hostId: string, vm: string): string | undefined {
    if (!this.#views.has(hostId))
      return this.#unreadable.get(hostId) ?? "it has not said yet what it reaches";
    return this.lossOf(hostId, vm);
  }

  /** Why the host itself says that it does not reach the machine's objects, if it says so. */
  lossOf(hostId: string, vm: string): string | undefined {
    return this.#views.get(hostId)?.inaccessible.find((one) => one.vm === vm)?.reason;
  }

  /** For all machines together; nothing, if it says nothing. */
  capacityOf(hostId: string): VmCapacity {
    return this.#views.get(hostId)?.capacity ?? NOTHING;
  }

  /** Hosts that it reaches over the storage network, as it says; none if it says nothing. */
  reachedFrom(hostId: string): readonly string[] {
    return this.#views.get(hostId)?.reaches ?? [];
  }

  /** Hosts that still hear it over the storage network, as they say themselves. */
  heardBy(hostId: string): readonly string[] {
    if (this.#isDeaf) return [];
    const others = [...this.#views.values()].filter((view) => view.hostId !== hostId);
    return others.filter(({ reaches }) => reaches.includes(hostId)).map((view) => view.hostId);
  }

  /** Hosts of one storage partition say the same here. Undefined: not known. */
  partitionOf(hostId: string): string | undefined {
    return this.#views.get(hostId)?.reaches.toSorted().join(" ");
  }
}
