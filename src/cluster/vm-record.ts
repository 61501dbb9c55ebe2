/**
 * The directory's record of one virtual machine: what it is, whether it should run, and on which
 * host. Changed only by compare-and-swap, so of two who place it one wins; `epoch` grows with each
 * placement, so a host knows a machine that is no longer its own.
 */
import { CodedError } from "../base/index.ts";
import type { Directory, DirectoryCondition, DirectoryRecord, VmBoot } from "../ports/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { FreshList } from "./fresh-list.ts";
import { RecordFields } from "./record-fields.ts";
import { isVmNetwork } from "./vm-network.ts";

const FORMAT = 1;
const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;
/** What becomes of it when its host is cut off from the directory. */
export const VM_ISOLATIONS = ["stand-still", "shut-down", "power-off", "leave"] as const;
export type VmIsolation = (typeof VM_ISOLATIONS)[number];
/** What becomes of it when its host reaches its objects no more, and another one does. */
export const VM_STORAGE_LOSSES = ["move", "leave"] as const;
export type VmStorageLoss = (typeof VM_STORAGE_LOSSES)[number];
const HISTORY_MAX = 30;
/** Of what was decided and why, in characters: what errors say may be of any length. */
const DECISION_LENGTH_MAX = 2000;
const DISKS_MAX = 16;
const RESETS_MAX = 16;
/** From first to last. */
export const VM_PRIORITIES = ["highest", "high", "medium", "low", "lowest"] as const;
export const PRIORITY_DEFAULT = 2;
const GROUP_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;
const NETWORKS_MAX = 8;
const CPUS_MAX = 256;
const MEMORY_BYTES_MIN = 16 << 20;
const MEMORY_BYTES_MAX = 2 ** 42;

export interface VmRecord {
  readonly name: string;
  /** Names of volumes, in the order of the machine's disks. */
  readonly volumes: readonly string[];
  readonly cpuCount: number;
  readonly memoryBytes: number;
  readonly boot: VmBoot;
  /** As `vmNetworks` reads them. */
  readonly networks: readonly string[];
  /** To be started on another host when its own has failed. */
  readonly isProtected: boolean;
  /** Counts the changes of what is wanted, from 1 on. */
  readonly protectionSequence: number;
  /** The newest of them that the machine's home in the object store holds. */
  readonly persistedSequence: number;
  /** 0 is started first, 4 last. */
  readonly priority: number;
  /** Machines of one group are kept on different hosts, as far as there are enough. */
  readonly antiAffinity: string | undefined;
  /** Starts in a row that failed, and when the last of them did. */
  readonly failureCount: number;
  readonly lastFailureMs: number;
  /** Its home is being removed, and then its record: nobody starts it any more. */
  readonly isDeleting?: boolean | undefined;
  /** Its host is to end it and let go of it: it will run elsewhere. */
  readonly isLeaving: boolean;
  /** "killed": stopped, without asking the guest. */
  readonly desired: "running" | "stopped" | "killed";
  /** Who runs it, or should; undefined while nobody was chosen. */
  readonly hostId: string | undefined;
  readonly epoch: number;
  /** The newest epoch at which a host has started it. */
  readonly startedEpoch: number;
  readonly migration?: VmMigration | undefined;
  /** A guest that hangs is noticed, and reset. */
  readonly hasWatchdog?: boolean | undefined;
  /** So is one whose agent has answered, and answers no more. */
  readonly hasAgent?: boolean | undefined;
  /** A file of each host that is executed instead of the usual firmware; undefined: none. */
  readonly firmwarePath?: string | undefined;
  /** Default: "stand-still". */
  readonly isolation?: VmIsolation | undefined;
  /** Default: "move". */
  readonly storageLoss?: VmStorageLoss | undefined;
  /** Wall times of the last resets of a guest that hung, oldest first. */
  readonly resetsMs?: readonly number[] | undefined;
  /** Newest last. */
  readonly history: readonly VmDecision[];
}

/** That a running machine moves to another host. A record keeps the last one. */
export interface VmMigration {
  /** Grows with each one of a machine. */
  readonly id: number;
  readonly to: string;
  /** The placement that it begins with; of no effect on any other. */
  readonly epoch: number;
  /** "ready": the target waits for its memory; "moved": it is there; "over": it stays. */
  readonly phase: "asked" | "ready" | "moved" | "over";
  /** Where the target waits; empty before it does. */
  readonly address: string;
}

/** What was decided about a machine, by whom, and why. */
export interface VmDecision {
  readonly timeMs: number;
  readonly hostId: string;
  readonly what: string;
  readonly because: string;
}

export interface StoredVm {
  readonly record: VmRecord;
  readonly revision: number;
}

/** A record that is damaged, or was written by a newer version: nothing is done about it. */
export interface UnreadableVm {
  readonly name: string;
  readonly why: string;
}

export interface VmList {
  readonly vms: readonly StoredVm[];
  readonly unreadable: readonly UnreadableVm[];
}

/** Each attempt but the last was overtaken by somebody who has made another machine. */
const CREATE_ATTEMPTS_MAX = 50;

/** Fails with `vm-name-invalid` or `vm-invalid`. */
export function checkVm(vm: VmRecord): void {
  if (!NAME_PATTERN.test(vm.name))
    throw new CodedError({
      code: "vm-name-invalid",
      message: `${JSON.stringify(vm.name.slice(0, 80))} cannot be the name of a virtual machine`,
      hint: "use 1 to 63 lower-case letters, digits and hyphens, the first one no hyphen",
    });
  const why = invalidity(vm);
  if (why !== undefined)
    throw new CodedError({ code: "vm-invalid", message: `${vm.name} cannot be made: ${why}` });
}

function invalidity(vm: VmRecord): string | undefined {
  if (vm.volumes.length > DISKS_MAX) return `it has more than ${DISKS_MAX} disks`;
  if (new Set(vm.volumes).size < vm.volumes.length) return "a volume is named twice";
  if (vm.volumes.length === 0 && vm.boot.kind === "disk") return "it has nothing to boot from";
  if (vm.networks.length > NETWORKS_MAX) return `it has more than ${NETWORKS_MAX} networks`;
  if (!vm.networks.every(isVmNetwork))
    return "a network is user, tap:NAME or bridge:NAME, with the name of an interface";
  if (VM_PRIORITIES[vm.priority] === undefined) return "its priority is none of the five";
  if (vm.antiAffinity !== undefined && !GROUP_PATTERN.test(vm.antiAffinity))
    return "the name of its group is not 1 to 63 lower-case letters, digits and hyphens";
  if (vm.isolation === "leave" && vm.isProtected)
    return "one that runs on while its host is cut off must not be protected: it would run twice";
  if (vm.cpuCount < 1 || vm.cpuCount > CPUS_MAX) return `it has 1 to ${CPUS_MAX} processors`;
  if (vm.memoryBytes < MEMORY_BYTES_MIN || vm.memoryBytes > MEMORY_BYTES_MAX)
    return "it has 16 MiB to 4 TiB of memory";
  return unreadability(textOf(vm));
}

/** Why nobody could read that as a machine's record; undefined if it can be read. */
function unreadability(value: string): string | undefined {
  try {
    parse({ key: "", value, revision: 0 });
    return undefined;
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return String(error.fault.details?.["why"] ?? error.message);
  }
}

/** Fails as `checkVm`, or with `vm-exists`. */
export async function createVm(
  directory: Directory,
  clusterId: string,
  vm: VmRecord,
): Promise<void> {
  checkVm(vm);
  const key = directoryKeys.vm(clusterId, vm.name);
  const put = { kind: "put", key, value: encode(vm) } as const;
  const outcome = await directory.transact([{ key, revision: 0 }], [put]);
  if (!outcome.succeeded) throw exists(vm.name);
}

/**
 * As `createVm`, if `check` throws nothing when it is told what machines there are: of those that
 * are made at the same time each is checked beside the ones before it. Fails with `vm-contended`,
 * too, where others are made too often.
 */
export async function createVmBeside(
  directory: Directory,
  clusterId: string,
  vm: VmRecord,
  check: (others: readonly StoredVm[]) => void,
): Promise<void> {
  checkVm(vm);
  const key = directoryKeys.vm(clusterId, vm.name);
  const made = directoryKeys.vmMade(clusterId);
  for (let i = 0; i < CREATE_ATTEMPTS_MAX; i++) {
    // Before the others are read: who is made after that has it changed.
    const revision = (await directory.get(made))?.revision ?? 0;
    const { vms, unreadable } = await listVms(directory, clusterId);
    const names = [...vms.map(({ record }) => record.name), ...unreadable.map(({ name }) => name)];
    if (names.includes(vm.name)) throw exists(vm.name);
    check(vms);
    const conditions = [
      { key, revision: 0 },
      { key: made, revision },
    ];
    const writes = [
      { kind: "put", key, value: encode(vm) },
      { kind: "put", key: made, value: vm.name },
    ] as const;
    if ((await directory.transact(conditions, writes)).succeeded) return;
  }
  throw new CodedError({
    code: "vm-contended",
    message: `${vm.name} is not made: others make virtual machines all the time`,
    hint: "try again",
  });
}

function exists(name: string): CodedError {
  return new CodedError({
    code: "vm-exists",
    message: `there is a virtual machine named ${name} already`,
    hint: `run drystone vm show ${name}`,
  });
}

export async function findVm(
  directory: Directory,
  clusterId: string,
  name: string,
): Promise<StoredVm> {
  const found = NAME_PATTERN.test(name)
    ? await directory.get(directoryKeys.vm(clusterId, name))
    : undefined;
  if (found !== undefined) return parse(found);
  throw new CodedError({
    code: "vm-not-found",
    message: `there is no virtual machine named ${name.slice(0, 80)}`,
    hint: "drystone vm list shows all of them",
  });
}

/** One that cannot be read is no reason to forget the others. */
export async function listVms(
  directory: Directory,
  clusterId: string,
): Promise<VmList & { readonly revision: number }> {
  const { records, revision } = await directory.list(directoryKeys.vms(clusterId));
  return { ...vmListOf(records.map(vmOf)), revision };
}

/** As `listVms`, for who looks again and again: `vmListOf` what it reads. */
export function freshVms(
  directory: Directory,
  clusterId: string,
): FreshList<StoredVm | UnreadableVm> {
  return new FreshList(directory, directoryKeys.vms(clusterId), vmOf);
}

export function vmListOf(all: readonly (StoredVm | UnreadableVm)[]): VmList {
  return {
    vms: all.filter((one) => "record" in one),
    unreadable: all.filter((one) => "why" in one),
  };
}

/** As the record has it, or why it cannot be read. */
export function vmOf(record: DirectoryRecord): StoredVm | UnreadableVm {
  try {
    return parse(record);
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    const name = record.key.slice(record.key.lastIndexOf("/") + 1);
    return { name, why: error.message };
  }
}

/** False if the record has changed since it was read, or something else does not hold. */
export async function swapVm(
  directory: Directory,
  clusterId: string,
  stored: StoredVm,
  next: VmRecord,
  also: readonly DirectoryCondition[] = [],
): Promise<boolean> {
  const key = directoryKeys.vm(clusterId, stored.record.name);
  const put = { kind: "put", key, value: encode(next) } as const;
  const conditions = [{ key, revision: stored.revision }, ...also];
  const { succeeded } = await directory.transact(conditions, [put]);
  return succeeded;
}

/** False if the record has changed since it was read. */
export async function removeVm(
  directory: Directory,
  clusterId: string,
  stored: StoredVm,
): Promise<boolean> {
  const key = directoryKeys.vm(clusterId, stored.record.name);
  const { succeeded } = await directory.transact(
    [{ key, revision: stored.revision }],
    [{ kind: "delete", key }],
  );
  return succeeded;
}

/** Whether it may be started elsewhere: what is wanted is known to outlive any master. */
export function isProtected({
  isProtected: isWanted,
  protectionSequence,
  persistedSequence,
}: VmRecord): boolean {
  return isWanted && persistedSequence === protectionSequence;
}

/** The record with one more decision, whose texts are cut; the oldest ones go. */
export function decided(vm: VmRecord, decision: VmDecision): VmRecord {
  const what = cut(decision.what);
  const because = cut(decision.because);
  return { ...vm, history: [...vm.history, { ...decision, what, because }].slice(-HISTORY_MAX) };
}

function cut(text: string): string {
  if (text === "") return "nothing was said";
  return text.length <= DECISION_LENGTH_MAX ? text : `${text.slice(0, DECISION_LENGTH_MAX - 1)}…`;
}

/**
 * Fails with `vm-invalid` where nobody could read it: such a machine would be looked after no more.
 */
function encode(vm: VmRecord): string {
  const value = textOf(vm);
  const why = unreadability(value);
  if (why === undefined) return value;
  throw new CodedError({
    code: "vm-invalid",
    message: `the record of ${vm.name.slice(0, 80)} cannot be written: ${why}`,
  });
}

function textOf(vm: VmRecord): string {
  const { volumes, networks, resetsMs, ...rest } = vm;
  const resetList = resetsMs?.map((timeMs) => ({ timeMs }));
  const volumeList = volumes.map((name) => ({ name }));
  const networkList = networks.map((network) => ({ network }));
  return JSON.stringify({ format: FORMAT, ...rest, volumeList, networkList, resetList });
}

function parse({ key, value, revision }: DirectoryRecord): StoredVm {
  const fields = RecordFields.parse(key, value, FORMAT);
  return {
    revision,
    record: {
      name: fields.text("name"),
      volumes: fields.children("volumeList", DISKS_MAX).map((one) => one.text("name")),
      cpuCount: fields.integer("cpuCount", 1, CPUS_MAX),
      memoryBytes: fields.integer("memoryBytes", MEMORY_BYTES_MIN, MEMORY_BYTES_MAX),
      boot: parseBoot(fields.child("boot")),
      networks: fields.has("networkList")
        ? fields.children("networkList", NETWORKS_MAX).map((one) => one.text("network"))
        : [],
      isProtected: fields.boolean("isProtected"),
      // Records of earlier versions: what they say was in force.
      protectionSequence: integerOr(fields, "protectionSequence", 1),
      persistedSequence: integerOr(fields, "persistedSequence", 1),
      priority: integerOr(fields, "priority", PRIORITY_DEFAULT),
      antiAffinity: fields.has("antiAffinity") ? fields.text("antiAffinity") : undefined,
      failureCount: integerOr(fields, "failureCount", 0),
      lastFailureMs: integerOr(fields, "lastFailureMs", 0),
      isLeaving: fields.has("isLeaving") && fields.boolean("isLeaving"),
      isDeleting: fields.has("isDeleting") && fields.boolean("isDeleting"),
      desired: fields.oneOf("desired", ["running", "stopped", "killed"]),
      hostId: fields.has("hostId") ? fields.text("hostId") : undefined,
      epoch: fields.integer("epoch", 0, Number.MAX_SAFE_INTEGER),
      startedEpoch: fields.integer("startedEpoch", 0, Number.MAX_SAFE_INTEGER),
      hasWatchdog: fields.has("hasWatchdog") && fields.boolean("hasWatchdog"),
      hasAgent: fields.has("hasAgent") && fields.boolean("hasAgent"),
      firmwarePath: fields.has("firmwarePath") ? fields.text("firmwarePath") : undefined,
      isolation: fields.has("isolation") ? fields.oneOf("isolation", VM_ISOLATIONS) : undefined,
      storageLoss: fields.has("storageLoss")
        ? fields.oneOf("storageLoss", VM_STORAGE_LOSSES)
        : undefined,
      migration: fields.has("migration") ? parseMigration(fields.child("migration")) : undefined,
      resetsMs: fields.has("resetList")
        ? fields.children("resetList", RESETS_MAX).map((one) => one.amount("timeMs"))
        : undefined,
      history: fields.children("history", HISTORY_MAX).map((one) => ({
        timeMs: one.amount("timeMs"),
        hostId: one.text("hostId"),
        what: one.text("what"),
        because: one.text("because"),
      })),
    },
  };
}

function parseMigration(fields: RecordFields): VmMigration {
  return {
    id: fields.integer("id", 1, Number.MAX_SAFE_INTEGER),
    to: fields.text("to"),
    epoch: fields.integer("epoch", 0, Number.MAX_SAFE_INTEGER),
    phase: fields.oneOf("phase", ["asked", "ready", "moved", "over"]),
    address: fields.anyText("address"),
  };
}

function integerOr(fields: RecordFields, name: string, value: number): number {
  return fields.has(name) ? fields.integer(name, 0, Number.MAX_SAFE_INTEGER) : value;
}

function parseBoot(fields: RecordFields): VmBoot {
  if (fields.oneOf("kind", ["disk", "kernel"]) === "disk") return { kind: "disk" };
  return {
    kind: "kernel",
    kernelPath: fields.text("kernelPath"),
    initrdPath: fields.has("initrdPath") ? fields.text("initrdPath") : undefined,
    commandLine: fields.anyText("commandLine"),
  };
}
