/**
 * What must hold of every change of machines' records, whatever the hosts do meanwhile: no host is
 * given more than it has room for; nothing is taken from a host while high availability is
 * disarmed; and where it is asked for, nobody is placed before one that comes first and has waited.
 */
import { directoryKeys, HA_DEFAULTS, haSettingsOf, vmOf } from "../cluster/index.ts";
import type { StoredVm, UnreadableVm, VmRecord } from "../cluster/index.ts";
import { isUnderWay } from "../ha/index.ts";
import type { Directory, DirectoryEvent } from "../ports/index.ts";
import { CLUSTER_ID } from "./names.ts";
import type { FailureKind } from "./trial-world.ts";

export class PlacementCheck {
  readonly #fail: (kind: FailureKind, what: string) => void;
  readonly #memoryBytesOf: (hostId: string) => number;
  readonly #isDown: (hostId: string) => boolean;
  readonly #vms = new Map<string, VmRecord>();
  #isArmed = HA_DEFAULTS.isArmed;
  /** A host that was not heard since may let machines run on. */
  wasDisarmed = false;
  /** All is well but room: machines are placed in the order of their priorities. */
  isInOrder = false;

  /** `isDown`: has no power, or no host process. */
  constructor(
    memoryBytesOf: (hostId: string) => number,
    isDown: (hostId: string) => boolean,
    fail: (kind: FailureKind, what: string) => void,
  ) {
    this.#memoryBytesOf = memoryBytesOf;
    this.#isDown = isDown;
    this.#fail = fail;
  }

  /** Every change, in order: the directory tells of none twice. */
  follow(directory: Directory): void {
    const lost = (): void => this.#fail("crash", "changes of records were missed");
    const settings = directoryKeys.haSettings(CLUSTER_ID);
    const machines = directoryKeys.vms(CLUSTER_ID);
    const onEvent = (event: DirectoryEvent): void => {
      if (event.kind !== "put") return;
      const { record } = event;
      if (record.key === settings) this.#isArmed = haSettingsOf(record).settings.isArmed;
      if (!this.#isArmed) this.wasDisarmed = true;
      if (record.key.startsWith(machines)) this.#machineChanged(vmOf(record));
    };
    // All kinds of keys by one watch: two would not tell which of their changes came first.
    directory.watch("", 1, onEvent, lost);
  }

  get isArmed(): boolean {
    return this.#isArmed;
  }

  /** Bytes of memory that nothing on the host, or ready to come there, takes. */
  freeOn(hostId: string): number {
    let free = this.#memoryBytesOf(hostId);
    for (const vm of this.#vms.values()) if (isOn(vm, hostId)) free -= vm.memoryBytes;
    return free;
  }

  #machineChanged(stored: StoredVm | UnreadableVm): void {
    // What cannot be read is as it was: nobody does anything about it.
    if (!("record" in stored)) return;
    const next = stored.record;
    const before = this.#vms.get(next.name);
    if (before !== undefined) this.#checkArmed(before, next);
    const { hostId } = next;
    const isPlaced = hostId !== undefined && before?.hostId !== hostId;
    if (this.isInOrder && isPlaced && !isGiven(before, hostId)) this.#checkOrder(next, hostId);
    this.#vms.set(next.name, next);
    const target = isUnderWay(next) ? next.migration?.to : undefined;
    for (const one of [hostId, target]) if (one !== undefined) this.#checkRoom(next, one);
  }

  #checkArmed(before: VmRecord, next: VmRecord): void {
    if (this.#isArmed) return;
    const { name, hostId } = next;
    const isTaken = before.hostId !== undefined && hostId !== undefined && before.hostId !== hostId;
    if (isTaken && !isGiven(before, hostId))
      this.#fail("disarmed", `${name} is taken from ${before.hostId} while that is disarmed`);
    if (!before.isLeaving && next.isLeaving)
      this.#fail("disarmed", `${name} is sent away from ${hostId} while that is disarmed`);
  }

  #checkRoom({ name }: VmRecord, hostId: string): void {
    const free = this.freeOn(hostId);
    if (free < 0) this.#fail("no-room", `with ${name} ${hostId} has ${-free} bytes too little`);
  }

  #checkOrder(next: VmRecord, hostId: string): void {
    const free = this.freeOn(hostId);
    for (const vm of this.#vms.values()) {
      const isFree = vm.hostId === undefined || (vm.isProtected && this.#isDown(vm.hostId));
      const waits = vm.desired === "running" && isFree && vm.failureCount === 0;
      if (waits && vm.priority < next.priority && vm.memoryBytes <= free)
        this.#fail("priorities", `${next.name} is given the room that ${vm.name} waits for`);
    }
  }
}

/** By the host that it ran on: it moves while it runs. */
function isGiven(before: VmRecord | undefined, hostId: string): boolean {
  return before !== undefined && isUnderWay(before) && before.migration?.to === hostId;
}

function isOn(vm: VmRecord, hostId: string): boolean {
  const { migration } = vm;
  const isReady = isUnderWay(vm) && migration?.to === hostId && migration.phase === "ready";
  return vm.hostId === hostId || isReady;
}
