/** Everything there is in one drill: a trial's hosts and objects, and machines on them. */
import { assertDefined } from "../base/index.ts";
import { createVm, freshObjects, freshVms, vmListOf } from "../cluster/index.ts";
import type { EmbeddedDirectory, FreshList, ObjectRecord } from "../cluster/index.ts";
import type { StoredObject, StoredVm, UnreadableVm, VmRecord } from "../cluster/index.ts";
import type { VmStorage } from "../ha/index.ts";
import type { SimHypervisor } from "../sim/index.ts";
import type { Depot } from "./depot.ts";
import { DrillGuests } from "./drill-guests.ts";
import { drillPlan } from "./drill-layout.ts";
import type { DrillLayout, DrillMachine } from "./drill-layout.ts";
import { CLUSTER_ID, hostIdOf } from "./names.ts";
import type { TrialHost } from "./trial-host.ts";
import { TrialWorld } from "./trial-world.ts";

/** A machine begins or ceases to execute. */
export interface DrillRun {
  readonly machine: string;
  readonly host: string;
  readonly atMs: number;
  readonly isExecuting: boolean;
}

export class DrillWorld {
  readonly trial: TrialWorld;
  readonly layout: DrillLayout;
  readonly runs: DrillRun[] = [];
  /** Numbers that guests were told are on their disks. */
  requests = 0;
  readonly #guests: DrillGuests[] = [];
  #vms: FreshList<StoredVm | UnreadableVm> | undefined;
  #objects: FreshList<StoredObject> | undefined;
  #stored: readonly StoredObject[] | undefined;
  #byId: ReadonlyMap<string, ObjectRecord> = new Map();
  readonly #objectIds: ReadonlyMap<string, string>;
  readonly #told = new Map<string, number>();
  readonly #executing = new Map<string, string>();
  readonly #arrivals = new Map<string, SimHypervisor>();
  readonly #cut = new Map<number, { storage?: () => void; management?: () => void }>();

  constructor(
    seed: number,
    layout: DrillLayout,
    options: { readonly depot: Depot; readonly onLine: ((line: string) => void) | undefined },
  ) {
    this.layout = layout;
    const plan = drillPlan(layout);
    this.#objectIds = new Map(plan.volumes.map(({ name, objectId }) => [name, objectId]));
    this.trial = new TrialWorld(seed, plan, { ...options, mutant: undefined });
    this.trial.onHostUp = (host) => {
      const { plane } = host;
      if (plane !== undefined) this.#guestsOf(host).begin(plane);
    };
  }

  async build(): Promise<void> {
    await this.trial.build();
    for (const machine of this.layout.machines)
      await createVm(this.directory(), CLUSTER_ID, recordOf(machine));
  }

  /** Past the network. It never fails in a drill. */
  directory = (): EmbeddedDirectory => {
    return assertDefined(this.trial.directory.inner, "the directory is up");
  };

  objectIdOf(volume: string): string {
    return assertDefined(this.#objectIds.get(volume), "a volume of the layout");
  }

  nameOf(hostId: string): string {
    return this.trial.hosts.find((host) => host.hostId === hostId)?.name ?? hostId;
  }

  tell(who: string, what: string): void {
    this.trial.trace.add(who, what);
  }

  whereIs(machine: string): string | undefined {
    return this.#executing.get(machine);
  }

  isCut(host: number, network: "storage" | "management"): boolean {
    return this.#cut.get(host)?.[network] !== undefined;
  }

  /** The storage layer of a host, as another one reaches it over the management network. */
  storageAt(from: string, to: string): VmStorage | undefined {
    const hosts = this.trial.hosts.filter(({ hostId }) => hostId === from || hostId === to);
    if (from !== to && hosts.some(({ number }) => this.isCut(number, "management")))
      return undefined;
    const host = hosts.find(({ hostId }) => hostId === to);
    return host === undefined || !host.isUp ? undefined : this.#guestsOf(host).storage;
  }

  /** Nobody is reached over that network from there, and the directory not either. */
  cut(host: TrialHost, network: "storage" | "management"): void {
    const now = this.#cut.get(host.number) ?? {};
    this.#cut.set(host.number, now);
    if (now[network] !== undefined) return;
    const own = network === "storage" ? host.storageAddress : host.managementAddress;
    const others = this.trial.hosts
      .filter((other) => other !== host)
      .map((other) => (network === "storage" ? other.storageAddress : other.managementAddress));
    if (network === "management") others.push(this.trial.directory.host);
    const mend = this.trial.cuts.cut(
      others.flatMap((other) => [
        [own, other],
        [other, own],
      ]),
    );
    now[network] = mend;
  }

  mend(host: TrialHost, network: "storage" | "management"): void {
    const now = this.#cut.get(host.number);
    now?.[network]?.();
    if (now !== undefined) delete now[network];
  }

  killProcess(host: TrialHost): void {
    this.#guestsOf(host).endProcess();
    host.kill();
  }

  cutPower(host: TrialHost): void {
    host.cutPower();
    this.#guestsOf(host).cutPower();
  }

  executes(host: TrialHost, machine: string, isExecuting: boolean): void {
    const where = this.#executing.get(machine);
    this.tell(host.name, `${machine} ${isExecuting ? "executes" : "does not execute"}`);
    if (isExecuting && where !== undefined && where !== host.name)
      this.trial.fail("two-machines", `${machine} executes on ${where} and on ${host.name}`);
    if (isExecuting) this.#executing.set(machine, host.name);
    else if (where === host.name) this.#executing.delete(machine);
    const atMs = this.trial.simulation.nowMs;
    this.runs.push({ machine, host: host.name, atMs, isExecuting });
  }

  told(machine: string, value: number): void {
    this.requests++;
    this.#told.set(machine, Math.max(value, this.#told.get(machine) ?? 0));
  }

  found(machine: string, value: number): void {
    const told = this.#told.get(machine) ?? 0;
    if (value < told)
      this.trial.fail("lost-write", `${machine} finds ${value} and was told ${told}`);
  }

  async records(): Promise<readonly VmRecord[]> {
    this.#vms ??= freshVms(this.directory(), CLUSTER_ID);
    return vmListOf(await this.#vms.read()).vms.map(({ record }) => record);
  }

  /** Those of volumes and of others, by id; the same map for as long as nothing changes. */
  async objects(): Promise<ReadonlyMap<string, ObjectRecord>> {
    this.#objects ??= freshObjects(this.directory(), CLUSTER_ID);
    const stored = await this.#objects.read();
    if (stored !== this.#stored) {
      this.#stored = stored;
      this.#byId = new Map(stored.map(({ record }) => [record.objectId, record]));
    }
    return this.#byId;
  }

  #guestsOf(host: TrialHost): DrillGuests {
    return (this.#guests[host.number] ??= new DrillGuests(this, host, this.#arrivals));
  }
}

function recordOf(machine: DrillMachine): VmRecord {
  const { name, volumes, cpuCount, memoryBytes, priority, antiAffinity, isProtected } = machine;
  return {
    ...{ name, volumes, cpuCount, memoryBytes, priority, antiAffinity, isProtected },
    boot: { kind: "disk" },
    networks: [],
    protectionSequence: 1,
    persistedSequence: 0,
    isLeaving: false,
    failureCount: 0,
    lastFailureMs: 0,
    desired: "running",
    hostId: machine.host === undefined ? undefined : hostIdOf(machine.host),
    epoch: machine.host === undefined ? 0 : 1,
    startedEpoch: 0,
    history: [],
  };
}
