/**
 * One host's part in running virtual machines: it runs what the directory's records say that it
 * should, at the epoch they say, and nothing else. It may do so only while its lease in the
 * directory lives: once that may have ended another host may be starting its machines, so they
 * stand still until the lease is back and the records are known to name this host still. A machine
 * that has moved is ended before anything else.
 *
 * The machine's volumes are fenced by the storage itself, whatever happens here: a machine that
 * runs on where it should not reads and writes nothing.
 */
import { bugStack, CodedError, errorText } from "../base/index.ts";
import { decided, directoryKeys, freshVms, listVms, swapVm, vmListOf } from "../cluster/index.ts";
import type { FreshList, StoredVm, UnreadableVm, VmRecord } from "../cluster/index.ts";
import type { DirectoryEvent, DirectoryWatch, LeaseId } from "../ports/index.ts";
import type { RunningVm, Timer, VmDisk } from "../ports/index.ts";
import { ArmedSetting } from "./armed-setting.ts";
import { DOES_NOT_START } from "./restart-plan.ts";
import { GuestHealth } from "./guest-health.ts";
import type { IsolationHooks } from "./vm-isolation.ts";
import { VmIsolationKeeper } from "./vm-isolation.ts";
import { VmDuty } from "./vm-duty.ts";
import { oneMoreFailure, STARTED, vmStart } from "./vm-start.ts";
import { VmMover } from "./vm-migration.ts";
import { VmStops } from "./vm-stops.ts";
import type { VmEvent, VmWorld } from "./vm-world.ts";

const TICK_MS = 1000;
/** How often the lease is looked at; it ends half a second before others may know. */
const LEASE_CHECK_MS = 200;
/** A host that has just begun to look after machines decides nothing before others have, too. */
const GATHER_MS = 1500;
/** While high availability is disarmed machines run on for days, whatever becomes of their host. */
const DISARMED_MS = 7 * 24 * 3600 * 1000;
/** A machine that has run for so long was started well. */
const STEADY_MS = 60_000;
/** Of what is logged of a start that has failed, in characters. */
const STACK_LENGTH_MAX = 2000;

export class VmHost {
  readonly #world: VmWorld;
  /** While there are machines in the cluster: without any, a host costs nothing for them. */
  #duty: VmDuty | undefined;
  readonly #stops: VmStops;
  readonly #mover: VmMover;
  readonly #starting = new Map<string, Promise<void>>();
  /** Counts starts that have ended, and by machine which of them was its last. */
  #endedCount = 0;
  readonly #lastEnded = new Map<string, number>();
  /** Machines that were started or seen to run here, at which placement, and since when. */
  readonly #seen = new Map<string, { readonly epoch: number; readonly sinceMs: number }>();
  readonly #isolation: VmIsolationKeeper;
  readonly #guests: GuestHealth;
  readonly #watches: DirectoryWatch[] = [];
  #followTurn = 0;
  #tickTimer: Timer | undefined;
  #leaseTimer: Timer | undefined;
  #running: Promise<void> | undefined;
  readonly #armed: ArmedSetting;
  #isWanted = false;
  /** The lease that lived when the records were read that are being dealt with. */
  #readUnder: LeaseId | undefined;
  readonly #vms: FreshList<StoredVm | UnreadableVm>;
  /** Machines whose records cannot be read, and why: what runs of them is left as it is. */
  #unreadable: ReadonlyMap<string, string> = new Map();
  #isClosed = false;
  #trouble: string | undefined;

  constructor(world: VmWorld) {
    this.#world = world;
    this.#vms = freshVms(world.directory, world.clusterId);
    this.#armed = new ArmedSetting(world, {
      isAlive: () => this.#isAlive(),
      bind: async () => await (this.#duty === undefined ? undefined : this.#allow(this.#duty)),
    });
    this.#mover = new VmMover(world, {
      wake: () => this.wake(),
      note: (error) => this.#note(error),
      resume: async (name) => void (await this.#whileAlive(() => world.hypervisor.resume(name))),
    });
    const event: IsolationHooks["event"] = (level, kind, name, what) =>
      this.#event(kind, level, name, what);
    this.#stops = new VmStops(world, { wake: () => this.wake(), event });
    const ends = (name: string): void => void this.#seen.delete(name);
    this.#isolation = new VmIsolationKeeper(world, { ends, event });
    this.#guests = new GuestHealth(world, { decide: (...all) => this.#decide(...all), event });
  }

  start(): void {
    this.#follow();
    this.wake();
  }

  /** Machines run on for as long as the lease would have lived: nobody else starts them before. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#tickTimer?.cancel();
    this.#leaseTimer?.cancel();
    for (const watch of this.#watches.splice(0)) watch.cancel();
    const moverClosed = this.#mover.close();
    await this.#running;
    await Promise.all([moverClosed, ...this.#starting.values()]);
    const lease = this.#duty?.lease;
    if ((await this.#world.hypervisor.list()).length > 0) lease?.letLapse();
    else await lease?.close();
  }

  /** Something may have changed. */
  wake(): void {
    if (this.#isClosed) return;
    this.#isWanted = true;
    this.#running ??= this.#work().finally(() => {
      this.#running = undefined;
      if (this.#isWanted) this.wake();
      else this.#tickWhileOnDuty();
    });
  }

  #follow(): void {
    const { directory, clusterId } = this.#world;
    for (const watch of this.#watches.splice(0)) watch.cancel();
    this.#vms.unfollow();
    // Several watches may be lost at once: the last of them begins anew.
    const turn = ++this.#followTurn;
    listVms(directory, clusterId).then(
      ({ revision }) => {
        if (this.#isClosed || turn !== this.#followTurn) return;
        const again = (): void => this.#follow();
        const watch = (prefix: string, onEvent: (event: DirectoryEvent) => void): void =>
          void this.#watches.push(directory.watch(prefix, revision + 1, onEvent, again));
        this.#vms.follow(revision + 1);
        // While nobody watched, anything may have changed.
        this.#armed.changed();
        this.#duty?.master.officeChanged();
        watch(directoryKeys.vms(clusterId), (event) => {
          this.#vms.take(event);
          this.wake();
        });
        // Hosts that come and go, and what they reach, are the master's to deal with, and at once.
        const wakeMaster = (): void => {
          if (this.#duty?.master.isMaster === true) this.wake();
        };
        watch(directoryKeys.vmHosts(clusterId), wakeMaster);
        watch(directoryKeys.vmViews(clusterId), wakeMaster);
        watch(directoryKeys.haSettings(clusterId), () => {
          this.#armed.changed();
          this.wake();
        });
        // Who had the office may be gone.
        watch(directoryKeys.vmMaster(clusterId), () => {
          this.#duty?.master.officeChanged();
          this.wake();
        });
        this.wake();
      },
      (error: unknown) => {
        this.#note(error);
        if (this.#isClosed || turn !== this.#followTurn) return;
        this.#world.clock.after(TICK_MS, () => this.#follow());
      },
    );
  }

  #tickWhileOnDuty(): void {
    this.#tickTimer?.cancel();
    if (this.#isClosed || (this.#duty === undefined && this.#trouble === undefined)) return;
    this.#tickTimer = this.#world.clock.after(TICK_MS, () => this.wake());
  }

  #checkLease(): void {
    const duty = this.#duty;
    if (this.#isClosed || duty === undefined) return;
    this.#leaseTimer = this.#world.clock.after(LEASE_CHECK_MS, () => this.#checkLease());
    // Not in turn with other work: that may be waiting for a directory that does not answer.
    if (!this.#armed.isArmed) this.#world.hypervisor.allow(DISARMED_MS);
    else this.#allow(duty).catch((error: unknown) => this.#note(error));
  }

  async #allow({ lease, isShort }: VmDuty): Promise<void> {
    const { restMs } = lease;
    if (restMs <= 0) return await this.#standStill();
    this.#isolation.allow(restMs);
    // A short lease has no time for guests to shut down: it is not for hosts that have such ones.
    if (!isShort) await this.#isolation.watch(restMs);
  }

  async #work(): Promise<void> {
    while (this.#isWanted && !this.#isClosed) {
      this.#isWanted = false;
      try {
        await this.#look();
        this.#trouble = undefined;
      } catch (error) {
        // Nobody waits for this: what is thrown on would end the process, of each master in turn.
        this.#note(error);
      }
    }
  }

  async #look(): Promise<void> {
    const { hypervisor } = this.#world;
    // What a host finds running when it starts stands still if the directory cannot be asked.
    if ((await hypervisor.list()).length > 0) await this.#takeUp();
    const before = this.#duty?.lease.id;
    const endedCount = this.#endedCount;
    let all = await this.#vms.read();
    if (all.length === 0) return await this.#endAll();
    const duty = await this.#takeUp();
    this.#readUnder = duty.lease.id;
    // Before the lease was there, any of them may have been given to another host.
    if (before !== this.#readUnder && this.#isReadUnderLease) all = await this.#vms.read();
    const { vms, unreadable } = vmListOf(all);
    this.#noteUnreadable(unreadable);
    await this.#reconcile(duty, vms, endedCount);
  }

  /** It may be another host's by now, or not: while nobody can tell, nothing is done about it. */
  #noteUnreadable(unreadable: readonly UnreadableVm[]): void {
    for (const { name, why } of unreadable)
      if (this.#unreadable.get(name) !== why)
        this.#event("vm-failed", "error", name, `is not looked after: ${why}`);
    const left = this.#world.rules?.isUnreadableLeft === false ? [] : unreadable;
    this.#unreadable = new Map(left.map(({ name, why }) => [name, why]));
  }

  get #isReadUnderLease(): boolean {
    return this.#world.rules?.isReadUnderLease !== false;
  }

  /** Resolves when the host counts as one that runs machines. Fails as the directory does. */
  async #takeUp(): Promise<VmDuty> {
    if (this.#duty === undefined) {
      this.#world.hypervisor.prepare().catch((error: unknown) => this.#note(error));
      this.#duty = new VmDuty(this.#world, () => this.wake());
      this.#leaseTimer = this.#world.clock.after(LEASE_CHECK_MS, () => this.#checkLease());
    }
    const duty = this.#duty;
    await duty.start();
    return duty;
  }

  /** No machine is left in the cluster. */
  async #endAll(): Promise<void> {
    const duty = this.#duty;
    if (duty === undefined) return;
    for (const vm of await this.#world.hypervisor.list()) await this.#end(vm, []);
    this.#leaseTimer?.cancel();
    this.#duty = undefined;
    await duty.lease.close();
  }

  #note(error: unknown): void {
    const text = errorText(error);
    if (text === this.#trouble) return;
    this.#trouble = text;
    const stack = bugStack(error);
    const level = stack === undefined ? "warning" : "error";
    this.#world.log.write(level, `virtual machines are not looked after: ${text}`, { stack });
  }

  /** Others may start what runs here. */
  async #standStill(): Promise<void> {
    // Nobody starts them elsewhere either.
    if (this.#armed.isArmed) await this.#isolation.end();
  }

  async #reconcile(duty: VmDuty, vms: readonly StoredVm[], endedCount: number): Promise<void> {
    const { lease, master, sinceMs } = duty;
    if (!lease.isAlive()) return;
    const { hypervisor, hostId, clock } = this.#world;
    const [list] = await Promise.all([hypervisor.list(), this.#armed.look(), duty.tellReach(vms)]);
    const wanted = new Map(
      vms.filter(({ record }) => record.hostId === hostId).map((vm) => [vm.record.name, vm]),
    );
    const own = [...wanted.values()].map(({ record }) => record);
    this.#isolation.note(own);
    duty.noteOwn(own);
    const running = new Map(list.map((vm) => [vm.vmId, vm]));
    for (const vm of running.values()) {
      // Whatever has become of its record is dealt with when the start is over.
      const isBeingStarted =
        this.#starting.has(vm.vmId) || this.#hasEndedSince(vm.vmId, endedCount);
      if (isBeingStarted || this.#unreadable.has(vm.vmId)) continue;
      if (vm.state === "arriving") {
        const its = vms.find(({ record }) => record.name === vm.vmId);
        await this.#mover.arriving(vm, its);
        continue;
      }
      const stored = wanted.get(vm.vmId);
      if (stored === undefined || stored.record.epoch !== vm.epoch) await this.#end(vm, vms);
      else await this.#keep(vm, stored);
    }
    this.#mover.expect(vms, running);
    for (const stored of wanted.values()) {
      const { name, epoch, desired } = stored.record;
      if (running.get(name)?.epoch === epoch || this.#starting.has(name)) continue;
      if (this.#mover.isReceiving(name) || this.#hasEndedSince(name, endedCount)) continue;
      if (stored.record.isLeaving) await this.#letGo(stored, "let go", "it was sent away");
      else if (desired !== "running") await this.#releaseUnless(running.has(name), stored);
      else if (this.#seen.get(name)?.epoch === epoch) await this.#crashed(stored);
      else this.#startSoon(stored);
    }
    if (clock.nowMs() - sinceMs >= GATHER_MS) await master.decide(vms);
  }

  /** It runs here and should not. */
  async #end(vm: RunningVm, vms: readonly StoredVm[]): Promise<void> {
    const { hypervisor, detach } = this.#world;
    this.#seen.delete(vm.vmId);
    await hypervisor.kill(vm.vmId);
    this.#isolation.forget(vm.vmId);
    this.#event("vm-ended", "warning", vm.vmId, "was ended: it runs elsewhere, or nowhere");
    const stored = vms.find(({ record }) => record.name === vm.vmId);
    for (const volume of stored?.record.volumes ?? []) await detach(volume, vm.vmId);
  }

  /** It runs here, and this is its place. */
  async #keep(vm: RunningVm, stored: StoredVm): Promise<void> {
    const { hypervisor } = this.#world;
    const { name, desired } = stored.record;
    if (await this.#mover.holds(vm, stored)) return;
    if (stored.record.isLeaving) {
      this.#seen.delete(name);
      await hypervisor.kill(name);
      this.#event("vm-ended", "warning", name, "was ended here: it is to run elsewhere");
      await this.#letGo(stored, "ended here", "it was sent away, and is free to be placed anew");
      return;
    }
    if (desired === "running" && (await this.#isolation.hasShutDown(vm))) return this.wake();
    if (vm.state === "ended") {
      this.#seen.delete(name);
      await hypervisor.kill(name);
      await this.#decide(stored, { desired: "stopped" }, "stopped", "the guest shut itself down");
      return;
    }
    if (desired === "running" && (await this.#guests.hasHung(vm, stored))) return;
    // A guest that stands still cannot shut down either.
    if (vm.state === "paused" && desired !== "killed") {
      if (!(await this.#mover.mayResume(stored))) return;
      if (!(await this.#whileAlive(() => hypervisor.resume(name)))) return;
      this.#isolation.forget(name);
      this.#event("vm-resumed", "info", name, "goes on: it is still here, and the lease lives");
    }
    if (desired !== "running") await this.#stops.shutDown(name, desired === "killed");
    else this.#stops.forget(name);
    // Somebody else may have changed the record when it was started.
    const { startedEpoch, epoch } = stored.record;
    if (desired !== "running") return;
    if (startedEpoch !== epoch) await this.#tellStarted(stored);
    else if (vm.state === "running") await this.#noteRunning(stored);
  }

  /** Having run for a while it starts from none when it fails next. */
  async #noteRunning(stored: StoredVm): Promise<void> {
    const { name, epoch, failureCount } = stored.record;
    const nowMs = this.#world.clock.nowMs();
    await this.#guests.executes(stored);
    const seen = this.#seen.get(name);
    if (seen?.epoch !== epoch) this.#seen.set(name, { epoch, sinceMs: nowMs });
    else if (failureCount > 0 && nowMs - seen.sinceMs > STEADY_MS)
      await this.#decide(stored, { failureCount: 0 }, "runs steadily", "it has not failed again");
  }

  async #tellStarted(stored: StoredVm): Promise<void> {
    const { epoch } = stored.record;
    await this.#decide(stored, { startedEpoch: epoch }, STARTED, `placement ${epoch}`);
  }

  /** It was seen to run, and nobody has ended it. */
  async #crashed(stored: StoredVm): Promise<void> {
    const { name } = stored.record;
    this.#seen.delete(name);
    this.#event("vm-failed", "error", name, "has ended by itself: its process is gone");
    for (const volume of stored.record.volumes) await this.#world.detach(volume, name);
    const change = {
      hostId: undefined,
      ...oneMoreFailure(stored.record, this.#world.clock.wallMs()),
    };
    await this.#decide(stored, change, DOES_NOT_START, "its process has ended by itself");
  }

  /** A machine that is stopped has no host, and its volumes are free. */
  async #releaseUnless(isRunning: boolean, stored: StoredVm): Promise<void> {
    if (isRunning) return;
    this.#stops.forget(stored.record.name);
    await this.#letGo(stored, "stopped", "it was asked for");
    this.#event("vm-ended", "info", stored.record.name, "is stopped");
  }

  /** Others may have it, and its volumes. */
  async #letGo(stored: StoredVm, what: string, because: string): Promise<void> {
    for (const disk of stored.record.volumes) await this.#world.detach(disk, stored.record.name);
    await this.#decide(stored, { hostId: undefined, isLeaving: false }, what, because);
  }

  /** A start that ended after the records were read may have given the machine back. */
  #hasEndedSince(name: string, count: number): boolean {
    if (this.#world.rules?.isReadAfterStarts === false) return false;
    return (this.#lastEnded.get(name) ?? 0) > count;
  }

  /** Others are looked after meanwhile. */
  #startSoon(stored: StoredVm): void {
    const { name } = stored.record;
    const start = this.#start(stored)
      .catch((error: unknown) => this.#note(error))
      .finally(() => {
        this.#starting.delete(name);
        this.#lastEnded.set(name, ++this.#endedCount);
        this.wake();
      });
    this.#starting.set(name, start);
  }

  async #start(stored: StoredVm): Promise<void> {
    const { name, epoch, volumes } = stored.record;
    try {
      if (!(await this.#execute(stored, this.#readUnder))) {
        for (const volume of volumes) await this.#world.detach(volume, name);
        return;
      }
    } catch (error) {
      const because = errorText(error);
      this.#event("vm-failed", "error", name, `does not start here: ${because}`);
      if (!(error instanceof CodedError)) await this.#cleanUp(name, error);
      for (const volume of volumes) await this.#world.detach(volume, name);
      const change = {
        hostId: undefined,
        ...oneMoreFailure(stored.record, this.#world.clock.wallMs()),
      };
      await this.#decide(stored, change, DOES_NOT_START, because);
      return;
    }
    this.#event("vm-started", "info", name, `runs here, placement ${epoch}`);
    // If that fails the machine runs all the same, and keeps its volumes: it is told later.
    await this.#tellStarted(stored);
  }

  /** After what nobody foresaw, such as a full disk, a part of it may run. */
  async #cleanUp(name: string, error: unknown): Promise<void> {
    const { log, hypervisor } = this.#world;
    const stack = bugStack(error)?.slice(0, STACK_LENGTH_MAX);
    log.write("error", `the start of ${name} has failed: ${errorText(error)}`, { stack });
    await hypervisor.kill(name);
  }

  async #execute({ record }: StoredVm, readUnder: LeaseId | undefined): Promise<boolean> {
    const { hypervisor, attach, clusterId, clock } = this.#world;
    const { name, epoch, volumes } = record;
    const disks: VmDisk[] = [];
    for (const volume of volumes) disks.push({ name: volume, ...(await attach(volume, name)) });
    const start = vmStart(clusterId, record, epoch, disks);
    return await this.#whileAlive(async () => {
      await hypervisor.start(start);
      // Not at the next look only: one that ends before that would count as none, and begin anew.
      this.#seen.set(record.name, { epoch, sinceMs: clock.nowMs() });
    }, readUnder);
  }

  /**
   * What came before may have taken longer than the lease lived, and so may this. Under another
   * lease than that under which the records were read the machine may belong to another host by
   * now. False if it was not done.
   */
  async #whileAlive(work: () => Promise<void>, readUnder = this.#readUnder): Promise<boolean> {
    const lease = this.#duty?.lease;
    const isStillRead = !this.#isReadUnderLease || lease?.id === readUnder;
    const isDone = isStillRead && lease?.isAlive() === true;
    if (isDone) {
      this.#isolation.allow(lease.restMs);
      await work();
    }
    if (!this.#isAlive()) await this.#standStill();
    return isDone;
  }

  #isAlive(): boolean {
    return this.#duty?.lease.isAlive() === true;
  }

  /** False if the record has changed since it was read. */
  async #decide(
    stored: StoredVm,
    change: Partial<VmRecord>,
    what: string,
    because: string,
  ): Promise<boolean> {
    const { directory, clusterId, hostId, clock } = this.#world;
    const decision = { timeMs: Math.round(clock.wallMs()), hostId, what, because };
    const next = decided({ ...stored.record, ...change }, decision);
    // If somebody else was faster, the next look at the records shows what is to be done.
    return await swapVm(directory, clusterId, stored, next);
  }

  #event(kind: VmEvent["kind"], level: VmEvent["level"], name: string, what: string): void {
    const message = `virtual machine ${name} ${what}`;
    this.#world.addEvent({ kind, level, message, details: { vm: name } });
    this.#world.log.write(level, message, { event: kind });
  }
}
