/** The handlers for high availability as a whole. */
import { CodedError } from "../../base/index.ts";
import {
  directoryKeys,
  listServices,
  listVms,
  readHaSettings,
  swapHaSettings,
} from "../../cluster/index.ts";
import type { HaSettings, VmRecord } from "../../cluster/index.ts";
import { admissionProblem, hostsOnDuty, HostViews, unheardHosts } from "../../ha/index.ts";
import { unheardWithMachines } from "../../ha/index.ts";
import type { AdmissionProblem } from "../../ha/index.ts";
import type { Handlers } from "../api/http-api.ts";
import type { VmControlWorld } from "./vm-control.ts";
import type { HaView } from "../api/views.ts";

const SWAP_ATTEMPTS_MAX = 10;
/** For so long whoever arms waits for hosts to say that they know. */
const AWARE_MS_MAX = 3000;
const AWARE_POLL_MS = 100;

type HaHandlers = Pick<Handlers, "ha.show" | "ha.set" | "ha.arm" | "ha.disarm">;

export function haHandlers(world: VmControlWorld): HaHandlers {
  const control = new HaControl(world);
  return {
    "ha.show": () => control.show(),
    "ha.set": (change) => control.change(change),
    "ha.arm": () => control.arm(),
    "ha.disarm": () => control.change({ isArmed: false }),
  };
}

interface Machines {
  readonly vms: readonly VmRecord[];
  readonly alive: readonly string[];
  readonly views: HostViews;
  /** Hosts that are being taken out of service. */
  readonly closed: ReadonlySet<string>;
}

class HaControl {
  readonly #world: VmControlWorld;

  constructor(world: VmControlWorld) {
    this.#world = world;
  }

  async show(): Promise<HaView> {
    const { directory, clusterId, hostNames } = this.#world;
    const names = await hostNames();
    const { settings } = await readHaSettings(directory, clusterId);
    const machines = await machinesOf(this.#world);
    const { vms, alive, views } = machines;
    const master = (await directory.get(directoryKeys.vmMaster(clusterId)))?.value;
    const problem = problemOf(machines, vms, names, settings);
    const unaware = settings.isArmed ? await this.#unaware(vms) : [];
    return {
      ...settings,
      ...(unaware.length === 0 ? {} : { unaware: unaware.map((id) => names.get(id) ?? id) }),
      ...(master === undefined ? {} : { master: names.get(master) ?? master }),
      hosts: alive.map((hostId) => names.get(hostId) ?? hostId).toSorted(),
      rooms: alive.map((hostId) => ({
        host: names.get(hostId) ?? hostId,
        ...views.capacityOf(hostId),
      })),
      ...(problem === undefined || settings.admission === "off"
        ? {}
        : { problem: problem.because }),
    };
  }

  /** Ids of hosts with machines that may let them run on without a lease. */
  async #unaware(vms: readonly VmRecord[]): Promise<readonly string[]> {
    const { directory, clusterId } = this.#world;
    const { unbound } = await unheardHosts(directory, clusterId);
    return [...unbound].filter((id) => vms.some(({ hostId }) => hostId === id)).toSorted();
  }

  /**
   * A host that is not heard of may still run its machines, which it was told to. Resolves when
   * all hosts with machines know of it, or after a few seconds: until a host does, its machines are
   * not started elsewhere. Fails with `ha-hosts-unheard`, or as the directory does.
   */
  async arm(): Promise<HaView> {
    const { directory, clusterId, clock } = this.#world;
    const { vms, alive } = await machinesOf(this.#world);
    const names = await this.#world.hostNames();
    const { removed } = await unheardHosts(directory, clusterId);
    const unheard = unheardWithMachines(vms, alive, removed);
    if (unheard.length > 0)
      throw new CodedError({
        code: "ha-hosts-unheard",
        message:
          `${unheard.map((id) => names.get(id) ?? id).join(", ")} cannot be heard, ` +
          "and may run machines that would be started a second time",
        hint:
          "Bring it back, or make sure that it is off and run drystone host remove, or drystone " +
          "vm kill for its machines",
      });
    const untilMs = clock.nowMs() + AWARE_MS_MAX;
    let view = await this.change({ isArmed: true });
    while (view.unaware !== undefined && clock.nowMs() < untilMs) {
      await new Promise<void>((resolve) => void clock.after(AWARE_POLL_MS, resolve));
      view = await this.show();
    }
    return view;
  }

  async change(change: Partial<HaSettings>): Promise<HaView> {
    const { directory, clusterId } = this.#world;
    for (let i = 0; i < SWAP_ATTEMPTS_MAX; i++) {
      const stored = await readHaSettings(directory, clusterId);
      const next = { ...stored.settings, ...change };
      if (await swapHaSettings(directory, clusterId, stored, next)) return await this.show();
    }
    throw new CodedError({
      code: "ha-contended",
      message: "others change the settings of high availability at the same time",
      hint: "Try again",
    });
  }
}

/**
 * Fails with `admission-refused` if the machine would take the room that is kept for failures. One
 * that is not protected is refused for what it takes from others only: nobody keeps room for it.
 */
export async function admit(world: VmControlWorld, vm: VmRecord): Promise<void> {
  const { settings } = await readHaSettings(world.directory, world.clusterId);
  if (settings.admission !== "refuse" || vm.desired === "running") return;
  const machines = await machinesOf(world);
  if (machines.alive.length === 0) return;
  const names = await world.hostNames();
  const others = machines.vms.filter(({ name }) => name !== vm.name);
  const then = [...others, { ...vm, desired: "running" as const }];
  const problem = problemOf(machines, then, names, settings);
  if (problem === undefined) return;
  const before = vm.isProtected ? undefined : problemOf(machines, others, names, settings);
  if (before !== undefined && before.unplacedBytes >= problem.unplacedBytes) return;
  throw new CodedError({
    code: "admission-refused",
    message: `${vm.name} is not started: ${problem.because}`,
    hint: "Stop others, add a host, or: drystone ha set --admission warn",
  });
}

function problemOf(
  { alive, views, closed }: Machines,
  vms: readonly VmRecord[],
  names: ReadonlyMap<string, string>,
  { toleratedHosts }: HaSettings,
): AdmissionProblem | undefined {
  const nameOf = (hostId: string): string => names.get(hostId) ?? hostId;
  return admissionProblem({ vms, alive, views, closed, nameOf, toleratedHosts });
}

export async function machinesOf({ directory, clusterId }: VmControlWorld): Promise<Machines> {
  const { vms } = await listVms(directory, clusterId);
  const views = await HostViews.read(directory, clusterId);
  const alive = await hostsOnDuty(directory, clusterId);
  const closed = new Set((await listServices(directory, clusterId)).map(({ id }) => id));
  return { vms: vms.map(({ record }) => record), alive, views, closed };
}
