/**
 * That a host looks after machines: its lease for that, what it tells the master that it reaches,
 * and its part in deciding. A host is on duty while the cluster has machines.
 */
import { directoryKeys } from "../cluster/index.ts";
import type { StoredVm, VmRecord } from "../cluster/index.ts";
import { HostLease, LEASE_TTL_MS } from "../plane/index.ts";
import { VmMaster } from "./vm-master.ts";
import type { VmWorld } from "./vm-world.ts";

export class VmDuty {
  readonly lease: HostLease;
  readonly master: VmMaster;
  readonly sinceMs: number;
  readonly #world: VmWorld;
  #isStarted = false;
  /** What the directory says that this host reaches, and under which lease. */
  #told = "";

  constructor(world: VmWorld, onChange: () => void) {
    const { directory, clock, log, clusterId, hostId, incarnation } = world;
    const key = directoryKeys.vmHost(clusterId, hostId);
    this.#world = world;
    this.lease = new HostLease({ directory, clock, log, hostId, incarnation, key, onChange });
    this.master = new VmMaster(world, this.lease);
    this.sinceMs = clock.nowMs();
  }

  /** Resolves when the host counts as one that runs machines. Fails as the directory does. */
  async start(): Promise<void> {
    if (!this.#isStarted) await this.lease.start();
    this.#isStarted = true;
  }

  get isShort(): boolean {
    return this.lease.ttlMs < LEASE_TTL_MS;
  }

  /** Guests that are asked to shut down before the lease ends need the time of a long one. */
  noteOwn(records: readonly VmRecord[]): void {
    this.lease.allowShort(!records.some(({ isolation }) => isolation === "shut-down"));
  }

  /** For the master: it places machines where all their objects are in reach. */
  async tellReach(vms: readonly StoredVm[]): Promise<void> {
    const { directory, clusterId, hostId, storage, capacity } = this.#world;
    const { id: lease } = this.lease;
    if (lease === undefined) return;
    const reach = await storage.reach(vms.map(({ record }) => record));
    const value = JSON.stringify({ format: 1, ...reach, capacity });
    const told = `${lease} ${value}`;
    if (told === this.#told) return;
    const key = directoryKeys.vmView(clusterId, hostId);
    await directory.transact([], [{ kind: "put", key, value, lease }]);
    this.lease.carry(key, value);
    this.#told = told;
  }
}
