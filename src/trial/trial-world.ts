/** Everything there is in one trial, and what was found wrong with it first. */
import { assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { Prng } from "../base/index.ts";
import { changeSettings, createVolumeRecord, findObject, findVolume } from "../cluster/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import { ObjectLayout } from "../object/index.ts";
import { NetworkFabric, Simulation } from "../sim/index.ts";
import type { Depot, HostMedia } from "./depot.ts";
import type { Mutant } from "./mutants.ts";
import { CLUSTER_ID, deviceIdOf, hostIdOf, idOf } from "./names.ts";
import { NetworkCuts } from "./network-cuts.ts";
import { Trace } from "./trace.ts";
import { TrialDirectory } from "./trial-directory.ts";
import { TrialHost } from "./trial-host.ts";
import type { TrialPlan, VolumePlan } from "./trial-plan.ts";
import { TrialVolume } from "./trial-volume.ts";
import type { TrialSnapshot } from "./trial-volume.ts";

/** What kind of promise was broken. */
export type FailureKind =
  | "not-linearizable"
  | "fencing"
  | "two-owners"
  | "copies-differed"
  | "copies-differ-at-the-end"
  | "references"
  | "read-error"
  | "violation"
  | "snapshot"
  | "leaked"
  | "damaged"
  | "version"
  | "device"
  | "no-progress"
  | "unbounded"
  | "two-machines"
  | "two-writers"
  | "lost-write"
  | "priorities"
  | "protection"
  | "disarmed"
  | "no-room"
  | "admission"
  | "unreadable"
  | "heartbeat"
  | "crash";

export interface Failure {
  readonly kind: FailureKind;
  readonly what: string;
  readonly atMs: number;
}

/** Disks that a host is given in one trial, one after the other. */
const SPARE_DISKS = 3;

export class TrialWorld {
  readonly simulation: Simulation;
  readonly prng: Prng;
  readonly fabric: NetworkFabric;
  readonly cuts: NetworkCuts;
  readonly plan: TrialPlan;
  readonly depot: Depot;
  readonly mutant: Mutant | undefined;
  readonly trace: Trace;
  readonly directory: TrialDirectory;
  readonly hosts: TrialHost[] = [];
  /** Empty ones, for the host that is sick. */
  readonly spareDisks: HostMedia[] = [];
  readonly volumes: TrialVolume[] = [];
  readonly snapshots: TrialSnapshot[] = [];
  /** Nobody knows yet whether they came to be. */
  readonly clonesAsked: TrialVolume[] = [];
  /** No fault begins any more, and all end. */
  isHealing = false;
  /** Clients issue nothing more. */
  isOver = false;
  failure: Failure | undefined;
  /** Called with each host that has come up. */
  onHostUp: (host: TrialHost) => void = () => {};
  readonly #epochs = new Map<string, number>();
  readonly #claimed = new Set<string>();
  #ids = 0;
  #contents = 0;

  constructor(
    seed: number,
    plan: TrialPlan,
    options: {
      readonly depot: Depot;
      readonly mutant: Mutant | undefined;
      readonly onLine: ((line: string) => void) | undefined;
    },
  ) {
    this.plan = plan;
    this.depot = options.depot;
    this.mutant = options.mutant;
    this.simulation = new Simulation({ seed, buggify: plan.buggify });
    this.trace = new Trace(() => this.simulation.nowMs, options.onLine);
    this.prng = this.simulation.prng.fork();
    this.fabric = new NetworkFabric(this.simulation, {
      latency: plan.network,
      smallPieceShare: 0.02,
    });
    this.cuts = new NetworkCuts(this.fabric);
    this.directory = new TrialDirectory(this);
  }

  /** Before the simulation runs: what `build` needs of the depot is there. */
  async prepare(): Promise<void> {
    const { hostCount, faults } = this.plan;
    for (let number = 0; number < hostCount; number++) await this.depot.prepare(number);
    if (faults.sickHost === undefined) return;
    for (let disk = 1; disk <= SPARE_DISKS; disk++) await this.depot.prepare(faults.sickHost, disk);
  }

  /** Hosts are up and volumes are there. */
  async build(): Promise<void> {
    const { hostCount, volumes, repairs, compareHours } = this.plan;
    await this.directory.start();
    for (let number = 0; number < hostCount; number++) {
      const host = new TrialHost(this, number, this.depot.media(number));
      this.hosts.push(host);
      host.start();
    }
    const { sickHost } = this.plan.faults;
    if (sickHost !== undefined)
      for (let disk = 1; disk <= SPARE_DISKS; disk++)
        this.spareDisks.push(this.depot.media(sickHost, disk));
    await this.until(() => this.hosts.every((host) => host.isUp), 30_000);
    const { inner } = this.directory;
    await changeSettings(assertDefined(inner, "the directory is up"), CLUSTER_ID, {
      ...repairs,
      scrubDays: 1,
      compareHours,
    });
    for (const volume of volumes) await this.#create(volume);
  }

  async #create(volume: VolumePlan): Promise<void> {
    const { objectId, name, sizeBytes, tree, placement } = volume;
    const blocks = Math.ceil(sizeBytes / BLOCK_SIZE_BYTES);
    const sizes = new ObjectLayout(tree).componentSizes(blocks);
    for (const { componentId, host } of placement)
      await assertDefined(this.hosts[host]?.device, "the host is up").createComponent({
        componentId,
        objectId,
        sizeBytes: (sizes.get(componentId) ?? 0) * BLOCK_SIZE_BYTES,
      });
    const directory = assertDefined(this.directory.inner, "the directory is up");
    await createVolumeRecord(directory, CLUSTER_ID, {
      objectId,
      name,
      sizeBytes,
      policy: { failuresToTolerate: volume.failuresToTolerate, stripes: 1 },
      tree,
      placement: placement.map(({ componentId, host }) => {
        return { componentId, hostId: hostIdOf(host), deviceId: deviceIdOf(host) };
      }),
    });
    this.volumes.push(new TrialVolume(volume));
  }

  host(number: number): TrialHost {
    return assertDefined(this.hosts[number], "no such host");
  }

  cloneIsThere(clone: TrialVolume): void {
    this.clonesAsked.splice(this.clonesAsked.indexOf(clone), 1);
    this.volumes.push(clone);
  }

  /** Somebody may have rolled the volume back. Not while the directory is down. */
  async refresh(volume: TrialVolume): Promise<void> {
    const { inner } = this.directory;
    if (inner === undefined) return;
    const { record } = await findVolume(inner, CLUSTER_ID, volume.name);
    if (volume.becomes(record.objectId))
      this.trace.add("trial", `${volume.name} is ${record.objectId.slice(-4)} now`);
  }

  /** Whether blocks that no copy gives are no surprise. */
  get isDamageExplained(): boolean {
    return this.plan.faults.sickHost !== undefined || this.hosts.some((host) => host.isDiskFaulty);
  }

  /** As the directory has it; undefined while that is down. */
  async record(objectId: string): Promise<ObjectRecord | undefined> {
    const { inner } = this.directory;
    if (inner === undefined) return undefined;
    return (await findObject(inner, CLUSTER_ID, objectId))?.record;
  }

  /** Only the first failure counts: what follows may follow from it. */
  fail(kind: FailureKind, what: string): void {
    if (this.failure !== undefined) return;
    this.failure = { kind, what, atMs: this.simulation.nowMs };
    this.trace.add("trial", `FAILED (${kind}): ${what}`);
  }

  owned(objectId: string, epoch: number, host: number): void {
    const key = `${objectId} ${epoch}`;
    const other = this.#epochs.get(key);
    if (other !== undefined && other !== host)
      this.fail("two-owners", `hosts ${other} and ${host} both own ${objectId} at epoch ${epoch}`);
    this.#epochs.set(key, host);
  }

  /** Digests that disagree are repaired, but without a faulty disk nothing may make them so. */
  copiesDiffered(what: string): void {
    const isExpected = this.mutant?.component?.isAppliedWhole === false;
    if (this.plan.faults.sickHost === undefined && !isExpected) this.fail("copies-differed", what);
  }

  standingOf(host: number): { readonly isSick: boolean; readonly isHealing: boolean } {
    return { isSick: this.plan.faults.sickHost === host, isHealing: this.isHealing };
  }

  /** For faults: nobody else may do the same to the same thing until `release`. */
  claim(what: string): boolean {
    if (this.#claimed.has(what)) return false;
    this.#claimed.add(what);
    return true;
  }

  release(what: string): void {
    this.#claimed.delete(what);
  }

  newId(): string {
    return idOf("1d", ++this.#ids);
  }

  newContent(): number {
    // Below are those that several writes share.
    return 1000 + ++this.#contents;
  }

  async pass(ms: number): Promise<void> {
    await new Promise<void>((resolve) => void this.simulation.clock.after(ms, resolve));
  }

  /** Waits in virtual time; false if it did not come in time, or something has failed. */
  async until(condition: () => boolean | Promise<boolean>, ms: number): Promise<boolean> {
    const endMs = this.simulation.nowMs + ms;
    while (this.failure === undefined) {
      if (await condition()) return true;
      if (this.simulation.nowMs >= endMs) return false;
      await this.pass(50);
    }
    return false;
  }
}
