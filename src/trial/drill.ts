/**
 * A drill: a cluster of a given layout in virtual time, to which happens what its script says. The
 * same seed, layout and script take the same way every time, so that what comes after a moment can
 * be tried out again and again from there.
 */
import { listServices, listVms } from "../cluster/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import { foreseeFailure, hostsOnDuty, HostViews, longestLeaseMs } from "../ha/index.ts";
import type { Foreseen } from "../ha/index.ts";
import type { Depot } from "./depot.ts";
import type { DrillLayout } from "./drill-layout.ts";
import { DrillWorld } from "./drill-world.ts";
import type { DrillRun } from "./drill-world.ts";
import { CLUSTER_ID } from "./names.ts";
import { stackOf } from "./trial-host.ts";
import type { TrialHost } from "./trial-host.ts";
import type { Failure } from "./trial-world.ts";

/** What can be done to a host. */
export const DRILL_ACTIONS = [
  "kill-process",
  "cut-power",
  "start",
  "cut-storage",
  "mend-storage",
  "cut-management",
  "mend-management",
  "break-disk",
  "mend-disk",
] as const;
export type DrillActionKind = (typeof DRILL_ACTIONS)[number];

export interface DrillAction {
  /** From the beginning of the drill, when all hosts are up and all machines run. */
  readonly atMs: number;
  readonly kind: DrillActionKind;
  /** Its number, from 0 on. */
  readonly host: number;
}

export interface DrillRequest {
  readonly seed: number;
  readonly layout: DrillLayout;
  readonly script: readonly DrillAction[];
  readonly lengthMs: number;
  /** What would happen if that host failed at that moment? */
  readonly whatIf?: { readonly atMs: number; readonly host: number } | undefined;
}

export interface DrillMoment {
  readonly atMs: number;
  readonly hosts: readonly DrillHostMoment[];
  readonly volumes: readonly DrillVolumeMoment[];
  readonly machines: readonly DrillMachineMoment[];
}

export interface DrillHostMoment {
  readonly isUp: boolean;
  readonly hasLease: boolean;
  readonly isStorageCut: boolean;
  readonly isManagementCut: boolean;
  readonly isDiskBroken: boolean;
}

export interface DrillVolumeMoment {
  /** The host that orders its writes. */
  readonly owner?: string;
  readonly components: readonly { readonly host: string; readonly state: string }[];
}

export interface DrillMachineMoment {
  /** Where it executes. */
  readonly host?: string;
  /** Where the directory says that it should. */
  readonly placedOn?: string;
}

export interface DrillForeseen {
  readonly atMs: number;
  readonly host: string;
  readonly machines: readonly Foreseen[];
  readonly unusable: readonly string[];
  readonly atRisk: readonly string[];
}

export interface DrillReport {
  readonly failure: Failure | undefined;
  readonly digest: number;
  /** In the time of lines and of the failure, where the drill begins. */
  readonly startMs: number;
  readonly virtualMs: number;
  /** All that was run for this answer: the time before it begins, and the asking, too. */
  readonly simulatedMs: number;
  readonly events: number;
  readonly requests: number;
  readonly moments: readonly DrillMoment[];
  /** From the beginning of the drill. */
  readonly runs: readonly DrillRun[];
  readonly foreseen: DrillForeseen | undefined;
}

const LOOK_MS = 250;
/** Simulated machines start at once. */
const START_MS = 100;
const BEGIN_MS_MAX = 60_000;
const PROTECTED_MS_MAX = 40_000;

export interface DrillOptions {
  readonly depot: Depot;
  readonly onLine?: ((line: string) => void) | undefined;
}

/** What would happen is asked in a run of its own, up to that moment: to ask takes time, too. */
export async function runDrill(request: DrillRequest, options: DrillOptions): Promise<DrillReport> {
  const { whatIf, ...plain } = request;
  const report = await runOnce(plain, options);
  if (whatIf === undefined) return report;
  const asked = { ...request, lengthMs: whatIf.atMs };
  const { foreseen, simulatedMs } = await runOnce(asked, { depot: options.depot });
  return { ...report, foreseen, simulatedMs: report.simulatedMs + simulatedMs };
}

async function runOnce(request: DrillRequest, options: DrillOptions): Promise<DrillReport> {
  const { depot, onLine } = options;
  const world = new DrillWorld(request.seed, request.layout, { depot, onLine });
  const drill = new Drill(world, request);
  const { trial } = world;
  const fromMs = trial.simulation.nowMs;
  try {
    await trial.prepare();
    await trial.simulation.run(() => drill.live());
  } catch (error) {
    trial.fail("crash", stackOf(error));
  } finally {
    depot.takeBack();
  }
  const { startMs, moments, foreseen } = drill;
  return {
    ...{ startMs, moments, foreseen },
    failure: trial.failure,
    digest: trial.trace.digest,
    virtualMs: trial.simulation.nowMs - startMs,
    simulatedMs: trial.simulation.nowMs - fromMs,
    events: trial.simulation.eventCount,
    requests: world.requests,
    runs: world.runs.map((run) => ({ ...run, atMs: run.atMs - startMs })),
  };
}

class Drill {
  readonly moments: DrillMoment[] = [];
  foreseen: DrillForeseen | undefined;
  startMs = 0;
  readonly #world: DrillWorld;
  readonly #request: DrillRequest;
  #objects: ReadonlyMap<string, ObjectRecord> | undefined;
  #volumes: readonly DrillVolumeMoment[] = [];

  constructor(world: DrillWorld, request: DrillRequest) {
    this.#world = world;
    this.#request = request;
  }

  async live(): Promise<void> {
    const { trial } = this.#world;
    await this.#world.build();
    await this.#allRun();
    this.startMs = trial.simulation.nowMs;
    this.#world.tell("drill", "begins");
    const steps = this.#steps();
    for (const { atMs, act } of steps) {
      const waitMs = this.startMs + atMs - trial.simulation.nowMs;
      if (waitMs > 0) await trial.pass(waitMs);
      if (trial.failure !== undefined) break;
      await act();
    }
    trial.isOver = true;
  }

  /** Nothing is told of what comes before: the drill begins with a cluster that is well. */
  async #allRun(): Promise<void> {
    const { trial, layout } = this.#world;
    const names = layout.machines.map(({ name }) => name);
    await trial.until(
      () => names.every((name) => this.#world.whereIs(name) !== undefined),
      BEGIN_MS_MAX,
    );
    await trial.until(async () => {
      const records = await this.#world.records();
      return records.every((one) => one.persistedSequence === one.protectionSequence);
    }, PROTECTED_MS_MAX);
  }

  /** In order; at one moment first what is asked, then what is done, then the look. */
  #steps(): readonly { readonly atMs: number; readonly act: () => void | Promise<void> }[] {
    const { script, lengthMs, whatIf } = this.#request;
    const asked = whatIf === undefined ? [] : [whatIf];
    const due = script.filter(({ atMs }) => atMs <= lengthMs);
    const looks = Array.from({ length: Math.floor(lengthMs / LOOK_MS) + 1 }, (_, i) => i * LOOK_MS);
    return [
      ...asked.map(({ atMs, host }) => ({ atMs, act: () => this.#foresee(atMs, host) })),
      ...due.map((action) => ({ atMs: action.atMs, act: () => this.#do(action) })),
      ...looks.map((atMs) => ({ atMs, act: () => this.#look(atMs) })),
    ].toSorted((a, b) => a.atMs - b.atMs);
  }

  #do({ kind, host: number }: DrillAction): void {
    const world = this.#world;
    const host = world.trial.host(number);
    world.tell("drill", `${kind} ${host.name}`);
    const acts: Readonly<Record<DrillActionKind, () => void>> = {
      "kill-process": () => {
        if (!host.isOff) world.killProcess(host);
      },
      "cut-power": () => world.cutPower(host),
      start: () => {
        if (host.isOff) host.start();
      },
      "cut-storage": () => world.cut(host, "storage"),
      "mend-storage": () => world.mend(host, "storage"),
      "cut-management": () => world.cut(host, "management"),
      "mend-management": () => world.mend(host, "management"),
      "break-disk": () => breakDisk(host),
      "mend-disk": () => {
        if (!host.isDiskFaulty) return;
        host.diskFaults = 0;
        // As after a new cable: the device is opened anew.
        if (!host.isOff) world.killProcess(host);
        host.start();
      },
    };
    acts[kind]();
  }

  async #foresee(atMs: number, number: number): Promise<void> {
    const world = this.#world;
    const directory = world.directory();
    const { hostId, name } = world.trial.host(number);
    const plane = world.trial.hosts.find((host) => host.isUp && host.hostId !== hostId)?.plane;
    const plan = await plane?.planService({ id: hostId, kind: "host", mode: "none" });
    const services = await listServices(directory, CLUSTER_ID);
    const input = {
      vms: (await listVms(directory, CLUSTER_ID)).vms,
      alive: await hostsOnDuty(directory, CLUSTER_ID),
      views: await HostViews.read(directory, CLUSTER_ID),
      closed: new Set(services.map(({ id }) => id)),
      wallMs: Math.round(world.trial.simulation.clock.wallMs()),
      nameOf: (id: string) => world.nameOf(id),
      isArmed: true,
    };
    const { unusable = [], atRisk = [] } = plan ?? {};
    const leaseMs = await longestLeaseMs(directory, CLUSTER_ID, hostId);
    const pace = { startMs: START_MS, leaseMs };
    const machines = foreseeFailure(input, hostId, new Set(unusable), pace).map((one) => ({
      ...one,
      hostId: one.hostId === undefined ? undefined : world.nameOf(one.hostId),
    }));
    const isUsers = (volume: string): boolean =>
      world.layout.volumes.some((one) => one.name === volume);
    this.foreseen = {
      ...{ atMs, host: name, machines },
      unusable: unusable.filter(isUsers),
      atRisk: atRisk.filter(isUsers),
    };
  }

  async #look(atMs: number): Promise<void> {
    const world = this.#world;
    const { trial, layout } = world;
    const records = new Map((await world.records()).map((one) => [one.name, one]));
    const volumes = this.#volumesOf(await world.objects());
    this.moments.push({
      atMs,
      hosts: trial.hosts.map((host) => ({
        isUp: host.isUp,
        hasLease: host.plane?.isLeaseAlive() === true,
        isStorageCut: world.isCut(host.number, "storage"),
        isManagementCut: world.isCut(host.number, "management"),
        isDiskBroken: host.isDiskFaulty,
      })),
      volumes,
      machines: layout.machines.map(({ name }) => {
        const host = world.whereIs(name);
        const placedOn = records.get(name)?.hostId;
        return {
          ...(host === undefined ? {} : { host }),
          ...(placedOn === undefined ? {} : { placedOn: world.nameOf(placedOn) }),
        };
      }),
    });
  }

  /** One for all moments between which nothing changes: what is the same is sent once, too. */
  #volumesOf(objects: ReadonlyMap<string, ObjectRecord>): readonly DrillVolumeMoment[] {
    if (objects === this.#objects) return this.#volumes;
    this.#objects = objects;
    const world = this.#world;
    this.#volumes = world.layout.volumes.map(({ name }) => {
      const { owner, components = [] } = objects.get(world.objectIdOf(name)) ?? {};
      return {
        ...(owner === undefined ? {} : { owner: world.nameOf(owner) }),
        components: components.map(({ hostId, state }) => {
          return { host: world.nameOf(hostId), state: state.kind };
        }),
      };
    });
    return this.#volumes;
  }
}

function breakDisk(host: TrialHost): void {
  if (host.isDiskFaulty) return;
  host.diskFaults++;
  host.disk?.vanish();
}
