/**
 * The host that decides where virtual machines run: one at a time, by a key in the directory that
 * lives as long as its lease. Each decision is a compare-and-swap of the machine's record with its
 * reason, so a master that was replaced and does not know it yet decides nothing twice.
 *
 * A host counts as failed when its lease has ended: by then it has stopped its machines itself, by
 * its own clock and half a second earlier.
 */
import { decided, directoryKeys, swapVm } from "../cluster/index.ts";
import type { StoredVm } from "../cluster/index.ts";
import type { HostLease } from "../plane/index.ts";
import type { VmWorld } from "./vm-host.ts";

/** A machine that did not start on a host is tried on others for so long. */
const AVOID_MS = 60_000;
/** When it has started nowhere, the next attempt waits for so long. */
const RETRY_MS = 10_000;

export class VmMaster {
  readonly #world: VmWorld;
  readonly #lease: HostLease;

  constructor(world: VmWorld, lease: HostLease) {
    this.#world = world;
    this.#lease = lease;
  }

  /** Places what has no host, or one that has failed. Does nothing on hosts that are not master. */
  async decide(vms: readonly StoredVm[]): Promise<void> {
    if (!(await this.#isMaster())) return;
    const { directory, clusterId } = this.#world;
    const prefix = directoryKeys.vmHosts(clusterId);
    const { records } = await directory.list(prefix);
    const alive = records.map(({ key }) => key.slice(prefix.length));
    const load = new Map(alive.map((hostId) => [hostId, 0]));
    for (const { record } of vms)
      if (record.hostId !== undefined && load.has(record.hostId))
        load.set(record.hostId, load.get(record.hostId)! + record.memoryBytes);
    for (const stored of vms) {
      const why = this.#whyToPlace(stored, alive);
      if (why !== undefined) await this.#place(stored, load, why);
    }
  }

  async #isMaster(): Promise<boolean> {
    const { directory, clusterId, hostId } = this.#world;
    const key = directoryKeys.vmMaster(clusterId);
    const lease = this.#lease.id;
    const found = await directory.get(key);
    if (found !== undefined) return found.value === hostId && this.#lease.isAlive();
    if (lease === undefined || !this.#lease.isAlive()) return false;
    const put = { kind: "put", key, value: hostId, lease } as const;
    const { succeeded } = await directory.transact([{ key, revision: 0 }], [put]);
    if (succeeded) this.#world.log.write("info", "this host decides where virtual machines run");
    return succeeded;
  }

  #whyToPlace({ record }: StoredVm, alive: readonly string[]): string | undefined {
    if (record.desired !== "running") return undefined;
    if (record.hostId === undefined) return "it should run and has no host";
    if (alive.includes(record.hostId) || !record.isProtected) return undefined;
    return `the lease of host ${this.#world.nameOf(record.hostId)} has ended`;
  }

  async #place(stored: StoredVm, load: Map<string, number>, why: string): Promise<void> {
    const { directory, clusterId, hostId, clock, nameOf, addEvent } = this.#world;
    const { record } = stored;
    const nowMs = clock.wallMs();
    const failures = record.history.filter(({ what, timeMs }) => {
      return what === "does not start here" && nowMs - timeMs < AVOID_MS;
    });
    const failedMs = new Map(failures.map((decision) => [decision.hostId, decision.timeMs]));
    const candidates = [...load].filter(([host]) => host !== record.hostId);
    const lastMs = failures.at(-1)?.timeMs ?? -Infinity;
    const areAllTried = candidates.every(([host]) => failedMs.has(host));
    if (areAllTried && nowMs - lastMs < RETRY_MS) return;
    // Where it failed longest ago, or never; then where the least memory is in use.
    const [target] = candidates.toSorted(([a, x], [b, y]) => {
      return (failedMs.get(a) ?? 0) - (failedMs.get(b) ?? 0) || x - y || (a < b ? -1 : 1);
    });
    if (target === undefined) return;
    const [chosen] = target;
    const because = `${why}; of ${load.size} hosts alive this one has the least memory in use`;
    const next = decided(
      { ...record, hostId: chosen, epoch: record.epoch + 1 },
      {
        timeMs: Math.round(nowMs),
        hostId,
        what: `placed on ${nameOf(chosen)}`,
        because,
      },
    );
    if (!(await swapVm(directory, clusterId, stored, next))) return;
    load.set(chosen, load.get(chosen)! + record.memoryBytes);
    const message = `virtual machine ${record.name} is placed on ${nameOf(chosen)}: ${why}`;
    const details = { vm: record.name, host: chosen };
    addEvent({ kind: "vm-moved", level: "warning", message, details });
  }
}
