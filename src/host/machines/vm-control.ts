/** The handlers for virtual machines: they change records, and the hosts follow. */
import { CodedError } from "../../base/index.ts";
import {
  checkVm,
  createVmBeside,
  decided,
  directoryKeys,
  findVm,
  isProtected,
  listVms,
  PRIORITY_DEFAULT,
  removeVm,
  swapVm,
  VM_PRIORITIES,
} from "../../cluster/index.ts";
import type { StoredVm, VmRecord } from "../../cluster/index.ts";
import { hostsOnDuty, HostViews, DOES_NOT_MOVE, isUnderWay } from "../../ha/index.ts";
import type { Clock, Directory } from "../../ports/index.ts";
import type { Handlers } from "../api/http-api.ts";
import { admit, machinesOf } from "./ha-control.ts";
import { requireFreeDisks, requireOwnDisks } from "./vm-disks.ts";
import { calledOff, migrationOf } from "./vm-migrate.ts";
import type {
  VmCreateRequest,
  VmList,
  VmMigrateRequest,
  VmSetRequest,
  VmState,
  VmView,
  VmWhyView,
} from "../api/views.ts";

const SWAP_ATTEMPTS_MAX = 10;
const MEMORY_BYTES_DEFAULT: number = 1 << 30;

export interface VmControlWorld {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly clusterId: string;
  readonly hostId: string;
  /** Names of hosts by id. */
  readonly hostNames: () => Promise<ReadonlyMap<string, string>>;
  /** Drops the home of a machine that is gone. */
  readonly forget: (name: string) => Promise<void>;
  /** Fails with `volume-not-found`. */
  readonly checkVolume: (name: string) => Promise<void>;
  /** Fails with `boot-file-refused`. */
  readonly checkBootFile: (file: string) => void;
}

type VmHandlers = Pick<
  Handlers,
  | "vm.create"
  | "vm.list"
  | "vm.show"
  | "vm.start"
  | "vm.stop"
  | "vm.kill"
  | "vm.delete"
  | "vm.set"
  | "vm.migrate"
  | "vm.protect"
  | "vm.unprotect"
  | "vm.why"
>;

export function vmHandlers(world: VmControlWorld): VmHandlers {
  const control = new VmControl(world);
  return {
    "vm.create": (request) => control.create(request),
    "vm.list": () => control.list(),
    "vm.show": ({ name }) => control.show(name),
    "vm.start": ({ name }) => control.start(name),
    "vm.set": (request) => control.set(request),
    "vm.migrate": (request) => control.migrate(request),
    "vm.stop": ({ name }) => control.change(name, { desired: "stopped" }, "told to stop"),
    "vm.kill": ({ name }) => control.change(name, { desired: "killed" }, "told to end"),
    "vm.protect": ({ name }) => control.protect(name, true),
    "vm.unprotect": ({ name }) => control.protect(name, false),
    "vm.why": ({ name }) => control.why(name),
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
    const { name, volumes, cpuCount, memoryBytes, kernel, initrd, append } = request;
    const { unprotected, priority, antiAffinity, networks, isolation, storageLoss } = request;
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
      networks: networks ?? [],
      isProtected: unprotected !== true,
      protectionSequence: 1,
      persistedSequence: 0,
      isLeaving: false,
      priority: priority === undefined ? PRIORITY_DEFAULT : VM_PRIORITIES.indexOf(priority),
      antiAffinity,
      ...partsOf(request),
      isolation,
      storageLoss,
      failureCount: 0,
      lastFailureMs: 0,
      desired: "stopped",
      hostId: undefined,
      epoch: 0,
      startedEpoch: 0,
      history: [],
    };
    this.#checkBootFiles(kernel, initrd, record.firmwarePath);
    for (const volume of volumes) await checkVolume(volume);
    const check = (others: readonly StoredVm[]): void => requireOwnDisks(record, others);
    await createVmBeside(directory, clusterId, record, check);
    return await this.show(name);
  }

  /** The host that starts the machine judges them again: it may have others. */
  #checkBootFiles(...files: readonly (string | undefined)[]): void {
    for (const file of files) if (file !== undefined) this.#world.checkBootFile(file);
  }

  async list(): Promise<VmList> {
    const { directory, clusterId, hostNames } = this.#world;
    const names = await hostNames();
    const { vms, unreadable } = await listVms(directory, clusterId);
    const views = vms.map(({ record }) => viewOf(record, names));
    if (unreadable.length === 0) return { vms: views };
    return {
      vms: views,
      unreadable: unreadable.map(({ name, why: reason }) => ({ name, reason })),
    };
  }

  async show(name: string): Promise<VmView> {
    const { directory, clusterId, hostNames } = this.#world;
    const { record } = await findVm(directory, clusterId, name);
    return viewOf(record, await hostNames());
  }

  /** It is tried at once, however often it has failed before. */
  async start(name: string): Promise<VmView> {
    const { record } = await findVm(this.#world.directory, this.#world.clusterId, name);
    await requireFreeDisks(this.#world.directory, this.#world.clusterId, record);
    await admit(this.#world, record);
    return await this.change(name, { desired: "running", failureCount: 0 }, "to be started");
  }

  async set(request: VmSetRequest): Promise<VmView> {
    const { name, priority, antiAffinity: group, isolation, storageLoss } = request;
    const { watchdog, agent, firmware } = request;
    this.#checkBootFiles(partsOf(request).firmwarePath);
    const change = {
      ...partsOf(request),
      ...(isolation === undefined ? {} : { isolation }),
      ...(storageLoss === undefined ? {} : { storageLoss }),
      ...(priority === undefined ? {} : { priority: VM_PRIORITIES.indexOf(priority) }),
      ...(group === undefined ? {} : { antiAffinity: group === "none" ? undefined : group }),
    };
    const parts = [
      ...(priority === undefined ? [] : [`priority ${priority}`]),
      ...(group === undefined ? [] : [`group ${group}`]),
      ...(watchdog === undefined ? [] : [`watchdog ${watchdog}`]),
      ...(agent === undefined ? [] : [`agent ${agent}`]),
      ...(firmware === undefined ? [] : [`firmware ${firmware}`]),
      ...(isolation === undefined ? [] : [`${isolation} when its host is cut off`]),
      ...(storageLoss === undefined ? [] : [`${storageLoss} when its host loses its storage`]),
    ];
    return await this.change(name, change, `set to ${parts.join(", ")}`);
  }

  /** Resolves when the hosts are told. */
  async migrate({ name, host, cancel }: VmMigrateRequest): Promise<VmView> {
    if (cancel === true) return await this.#callOff(name);
    const { directory, clusterId, hostId: by, clock, hostNames } = this.#world;
    const names = await hostNames();
    await this.#swap(name, async (stored) => {
      const cluster = { ...(await machinesOf(this.#world)), names };
      const migration = migrationOf(stored, host, cluster);
      const what = `to move to ${names.get(migration.to) ?? migration.to}`;
      const timeMs = Math.round(clock.wallMs());
      const decision = { timeMs, hostId: by, what, because: "it was asked for" };
      const next = decided({ ...stored.record, migration }, decision);
      return await swapVm(directory, clusterId, stored, next);
    });
    return await this.show(name);
  }

  /** Of calling it off and giving the machine away one comes first: both are swaps. */
  async #callOff(name: string): Promise<VmView> {
    const { directory, clusterId, hostId, clock } = this.#world;
    await this.#swap(name, async (stored) => {
      const migration = calledOff(stored);
      const timeMs = Math.round(clock.wallMs());
      const decision = { timeMs, hostId, what: DOES_NOT_MOVE, because: "it was called off" };
      const next = decided({ ...stored.record, migration }, decision);
      return await swapVm(directory, clusterId, stored, next);
    });
    return await this.show(name);
  }

  async protect(name: string, isProtected: boolean): Promise<VmView> {
    const { record } = await findVm(this.#world.directory, this.#world.clusterId, name);
    if (record.isProtected === isProtected) return await this.show(name);
    const protectionSequence = record.protectionSequence + 1;
    const what = isProtected ? "to be protected" : "to be no longer protected";
    return await this.change(name, { isProtected, protectionSequence }, what);
  }

  /** What the master has to go by. */
  async why(name: string): Promise<VmWhyView> {
    const { directory, clusterId, hostNames } = this.#world;
    const names = await hostNames();
    const nameOf = (hostId: string): string => names.get(hostId) ?? hostId;
    const { record } = await findVm(directory, clusterId, name);
    const views = await HostViews.read(directory, clusterId);
    const alive = new Set(await hostsOnDuty(directory, clusterId));
    const master = (await directory.get(directoryKeys.vmMaster(clusterId)))?.value;
    return {
      vm: viewOf(record, names),
      ...(master === undefined ? {} : { master: nameOf(master) }),
      places: [...names.keys()].map((hostId) => {
        const reason = views.whyNot(hostId, name);
        return {
          host: nameOf(hostId),
          isAlive: alive.has(hostId),
          isAccessible: reason === undefined,
          ...(reason === undefined ? {} : { reason }),
          reaches: views.reachedFrom(hostId).map(nameOf),
        };
      }),
    };
  }

  async change(name: string, change: Partial<VmRecord>, what: string): Promise<VmView> {
    await this.#swap(name, async (stored) => {
      const { directory, clusterId, clock, hostId } = this.#world;
      checkChange(stored.record, change);
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
        decided({ ...stored.record, ...change }, decision),
      );
    });
    return await this.show(name);
  }

  /** A start that comes first has it refused, and one that comes later is refused itself. */
  async delete(name: string): Promise<void> {
    const { directory, clusterId, forget } = this.#world;
    await this.#swap(name, async (stored) => {
      requireStopped(stored.record);
      return await swapVm(directory, clusterId, stored, { ...stored.record, isDeleting: true });
    });
    try {
      // First: without its record nobody would remember that it has a home.
      await forget(name);
    } catch (error) {
      await this.#keep(name);
      throw error;
    }
    await this.#swap(name, async (stored) => {
      requireStopped(stored.record);
      return await removeVm(directory, clusterId, stored);
    });
    // Who was just having it protected may have made another one, and asks for its record no more.
    await forget(name);
  }

  /** It is not deleted after all, and its home is made anew: nobody knows what is left of that. */
  async #keep(name: string): Promise<void> {
    const { directory, clusterId } = this.#world;
    await this.#swap(name, async (stored) => {
      const { record } = stored;
      const protectionSequence = record.protectionSequence + 1;
      const next = { ...record, isDeleting: false, protectionSequence };
      return await swapVm(directory, clusterId, stored, next);
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

/** Fails with `vm-running`. */
function requireStopped({ name, hostId, desired }: VmRecord): void {
  if (hostId === undefined && desired !== "running") return;
  throw new CodedError({
    code: "vm-running",
    message: `virtual machine ${name} is not stopped`,
    hint: `run drystone vm stop ${name}`,
  });
}

/** A host that is cut off goes by what it has read last: whoever is left running stays so. */
function checkChange(record: VmRecord, change: Partial<VmRecord>): void {
  const next = { ...record, ...change };
  checkVm(next);
  if (record.isDeleting === true && change.desired === "running")
    throw new CodedError({
      code: "vm-contended",
      message: `virtual machine ${record.name} is being deleted`,
      hint: `drystone vm delete ${record.name} finishes that, if nobody does any more`,
    });
  if (record.hostId === undefined) return;
  const isOther = (next.isolation === "leave") !== (record.isolation === "leave");
  const isMadeOtherwise =
    (next.hasWatchdog === true) !== (record.hasWatchdog === true) ||
    (next.hasAgent === true) !== (record.hasAgent === true) ||
    next.firmwarePath !== record.firmwarePath;
  if (!isOther && !isMadeOtherwise) return;
  const why = isOther
    ? "its host may be cut off already"
    : "what it is made of cannot be changed now";
  throw new CodedError({
    code: "vm-running",
    message: `virtual machine ${record.name} is not stopped: ${why}`,
    hint: `run drystone vm stop ${record.name}`,
  });
}

/** Of the machine itself, which has them from its start on. */
function partsOf({
  watchdog,
  agent,
  firmware,
}: Pick<VmSetRequest, "watchdog" | "agent" | "firmware">): Partial<VmRecord> {
  return {
    ...(watchdog === undefined ? {} : { hasWatchdog: watchdog === "on" }),
    ...(agent === undefined ? {} : { hasAgent: agent === "on" }),
    ...(firmware === undefined ? {} : { firmwarePath: firmware === "none" ? undefined : firmware }),
  };
}

function viewOf(record: VmRecord, names: ReadonlyMap<string, string>): VmView {
  const { hostId, cpuCount, memoryBytes, volumes, epoch, history } = record;
  const isInForce = isProtected(record);
  const isSettled = record.persistedSequence === record.protectionSequence;
  const last = history.at(-1);
  const isWaiting = record.desired === "running" && last?.what.startsWith("waits for") === true;
  const because = isWaiting ? last?.because : undefined;
  const to = isUnderWay(record) ? record.migration?.to : undefined;
  const wanted = record.isProtected ? "protected" : "unprotected";
  return {
    name: record.name,
    state: stateOf(record),
    ...(hostId === undefined ? {} : { host: names.get(hostId) ?? hostId }),
    cpuCount,
    memoryBytes,
    volumes,
    networks: record.networks,
    isProtected: isInForce,
    protection: isSettled ? wanted : "pending",
    priority: VM_PRIORITIES[record.priority] ?? "medium",
    ...(record.antiAffinity === undefined ? {} : { antiAffinity: record.antiAffinity }),
    ...(record.hasWatchdog === true ? { hasWatchdog: true } : {}),
    ...(record.hasAgent === true ? { hasAgent: true } : {}),
    ...(record.firmwarePath === undefined ? {} : { firmware: record.firmwarePath }),
    isolation: record.isolation ?? "stand-still",
    storageLoss: record.storageLoss ?? "move",
    failureCount: record.failureCount,
    ...(because === undefined ? {} : { waitsBecause: because }),
    ...(to === undefined ? {} : { movesTo: names.get(to) ?? to }),
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
