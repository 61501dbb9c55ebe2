/** The handlers for virtual machines: they change records, and the hosts follow. */
import { CodedError } from "../base/index.ts";
import { createVm, decided, findVm, listVms, removeVm, swapVm } from "../cluster/index.ts";
import type { StoredVm, VmRecord } from "../cluster/index.ts";
import type { Clock, Directory } from "../ports/index.ts";
import type { Handlers } from "./http-api.ts";
import type { VmCreateRequest, VmState, VmView } from "./views.ts";

const SWAP_ATTEMPTS_MAX = 10;
const MEMORY_BYTES_DEFAULT: number = 1 << 30;

export interface VmControlWorld {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly clusterId: string;
  readonly hostId: string;
  /** Names of hosts by id. */
  readonly hostNames: () => Promise<ReadonlyMap<string, string>>;
  /** Fails with `volume-not-found`. */
  readonly checkVolume: (name: string) => Promise<void>;
}

type VmHandlers = Pick<
  Handlers,
  "vm.create" | "vm.list" | "vm.show" | "vm.start" | "vm.stop" | "vm.kill" | "vm.delete"
>;

export function vmHandlers(world: VmControlWorld): VmHandlers {
  const control = new VmControl(world);
  return {
    "vm.create": (request) => control.create(request),
    "vm.list": async () => ({ vms: await control.list() }),
    "vm.show": ({ name }) => control.show(name),
    "vm.start": ({ name }) => control.change(name, "running", "started"),
    "vm.stop": ({ name }) => control.change(name, "stopped", "told to stop"),
    "vm.kill": ({ name }) => control.change(name, "killed", "told to end"),
    "vm.delete": async ({ name }) => {
      await control.delete(name);
      return { done: true };
    },
  };
}

class VmControl {
  readonly #world: VmControlWorld;

  constructor(world: VmControlWorld) {
    this.#world = world;
  }

  async create(request: VmCreateRequest): Promise<VmView> {
    const { directory, clusterId, checkVolume } = this.#world;
    const { name, volumes, cpuCount, memoryBytes, kernel, initrd, append, unprotected } = request;
    if (kernel === undefined && (initrd ?? append) !== undefined)
      throw new CodedError({
        code: "vm-invalid",
        message: `${name} cannot be made: an initramfs and a command line belong to a kernel`,
        hint: "give --kernel, too",
      });
    const record: VmRecord = {
      name,
      volumes,
      cpuCount: cpuCount ?? 1,
      memoryBytes: memoryBytes ?? MEMORY_BYTES_DEFAULT,
      boot:
        kernel === undefined
          ? { kind: "disk" }
          : {
              kind: "kernel",
              kernelPath: kernel,
              initrdPath: initrd,
              commandLine: append ?? "",
            },
      isProtected: unprotected !== true,
      desired: "stopped",
      hostId: undefined,
      epoch: 0,
      startedEpoch: 0,
      history: [],
    };
    for (const volume of volumes) await checkVolume(volume);
    await createVm(directory, clusterId, record);
    return await this.show(name);
  }

  async list(): Promise<readonly VmView[]> {
    const { directory, clusterId, hostNames } = this.#world;
    const names = await hostNames();
    const { vms } = await listVms(directory, clusterId);
    return vms.map(({ record }) => viewOf(record, names));
  }

  async show(name: string): Promise<VmView> {
    const { directory, clusterId, hostNames } = this.#world;
    const { record } = await findVm(directory, clusterId, name);
    return viewOf(record, await hostNames());
  }

  async change(name: string, desired: VmRecord["desired"], what: string): Promise<VmView> {
    await this.#swap(name, async (stored) => {
      const { directory, clusterId, clock, hostId } = this.#world;
      const decision = {
        timeMs: Math.round(clock.wallMs()),
        hostId,
        what,
        because: "it was asked for",
      };
      return await swapVm(
        directory,
        clusterId,
        stored,
        decided({ ...stored.record, desired }, decision),
      );
    });
    return await this.show(name);
  }

  async delete(name: string): Promise<void> {
    await this.#swap(name, async (stored) => {
      if (stored.record.hostId !== undefined || stored.record.desired === "running")
        throw new CodedError({
          code: "vm-running",
          message: `virtual machine ${name} is not stopped`,
          hint: `drystone vm stop ${name}`,
        });
      return await removeVm(this.#world.directory, this.#world.clusterId, stored);
    });
  }

  async #swap(name: string, attempt: (stored: StoredVm) => Promise<boolean>): Promise<void> {
    const { directory, clusterId } = this.#world;
    for (let i = 0; i < SWAP_ATTEMPTS_MAX; i++)
      if (await attempt(await findVm(directory, clusterId, name))) return;
    throw new CodedError({
      code: "vm-contended",
      message: `the record of virtual machine ${name} changes too often`,
      hint: "try again",
    });
  }
}

function viewOf(record: VmRecord, names: ReadonlyMap<string, string>): VmView {
  const { hostId, cpuCount, memoryBytes, volumes, isProtected, epoch, history } = record;
  return {
    name: record.name,
    state: stateOf(record),
    ...(hostId === undefined ? {} : { host: names.get(hostId) ?? hostId }),
    cpuCount,
    memoryBytes,
    volumes,
    isProtected,
    epoch,
    history: history.map(({ timeMs, hostId: by, what, because }) => ({
      timeMs,
      host: names.get(by) ?? by,
      what,
      because,
    })),
  };
}

function stateOf({ desired, hostId, epoch, startedEpoch }: VmRecord): VmState {
  if (desired !== "running") return hostId === undefined ? "stopped" : "stopping";
  if (hostId === undefined) return "waiting";
  return startedEpoch === epoch ? "running" : "starting";
}
