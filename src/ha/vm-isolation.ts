/**
 * What becomes of a host's machines when the host is cut off from the directory. Once its lease may
 * have ended others may start them, so none of them executes on, but those that nobody else starts:
 *
 * - "stand-still": it stands still, goes on when it is known to be this host's still, and is ended
 *   when it is known to be another's.
 * - "shut-down": its guest is asked to shut down while there is time, and ended when there is none.
 * - "power-off": it is ended when the time is over.
 * - "leave": it executes on. Only one that is not to be protected can be told so.
 *
 * What was ended and is this host's still when the directory is back is started here anew.
 */
import type { VmIsolation, VmRecord } from "../cluster/index.ts";
import type { RunningVm } from "../ports/index.ts";
import type { TellOfVm, VmWorld } from "./vm-world.ts";

/**
 * A lease that is renewed in time never has so little left: it is renewed after a quarter of its
 * time, and guests have the rest to shut down.
 */
const LITTLE_MS = 2500;
/** A guest that has not shut down by then, although the directory was back, does not want to. */
const SHUT_DOWN_MS_MAX = 60_000;

export interface IsolationHooks {
  /** It ends, and not by itself. */
  readonly ends: (name: string) => void;
  readonly event: TellOfVm;
}

export class VmIsolationKeeper {
  readonly #world: VmWorld;
  readonly #hooks: IsolationHooks;
  /** As the records said last; what is not here stands still. */
  #responses: ReadonlyMap<string, VmIsolation> = new Map();
  #left: ReadonlySet<string> = new Set();
  /** Machines of which it was told that they stand still. */
  readonly #standing = new Set<string>();
  /** Guests that were asked to shut down because of this, and when. */
  readonly #asked = new Map<string, number>();
  /** All of them that run on, since this process began. */
  readonly #askedHere = new Set<string>();

  constructor(world: VmWorld, hooks: IsolationHooks) {
    this.#world = world;
    this.#hooks = hooks;
  }

  /** What records say, of machines that are this host's. */
  note(records: Iterable<VmRecord>): void {
    const all = [...records];
    this.#responses = new Map(
      all.map(({ name, isolation }) => [name, isolation ?? "stand-still"] as const),
    );
    const left = all.filter(({ isolation, isProtected }) => isolation === "leave" && !isProtected);
    this.#left = new Set(left.map(({ name }) => name));
  }

  /** Machines may execute for so long. */
  allow(ms: number): void {
    this.#world.hypervisor.allow(ms, this.#left);
  }

  /** The lease lives, for so long. Guests that are to shut down are asked while there is time. */
  async watch(restMs: number): Promise<void> {
    if (restMs > LITTLE_MS) return;
    const { hypervisor, clock } = this.#world;
    for (const { vmId, state } of await hypervisor.list()) {
      if (state !== "running" || this.#responses.get(vmId) !== "shut-down") continue;
      if (this.#asked.has(vmId)) continue;
      this.#asked.set(vmId, clock.nowMs());
      this.#askedHere.add(vmId);
      this.#hooks.event("warning", "vm-paused", vmId, "is shut down: its host seems cut off");
      await hypervisor.shutDown(vmId, true);
    }
  }

  /** The lease may have ended: others may start what runs here. */
  async end(): Promise<void> {
    const { hypervisor } = this.#world;
    for (const vm of await hypervisor.list()) {
      if (this.#left.has(vm.vmId) || vm.state === "arriving") continue;
      if (this.#isToEnd(vm)) {
        await this.#kill(vm.vmId);
        continue;
      }
      if (vm.state === "running") await hypervisor.pause(vm.vmId);
      if (vm.state === "ended" || this.#standing.has(vm.vmId)) continue;
      this.#standing.add(vm.vmId);
      const what = "stands still: the directory is out of reach";
      this.#hooks.event("warning", "vm-paused", vm.vmId, what);
    }
  }

  /**
   * The directory is there. True if the guest has shut down for this reason alone and was ended: it
   * is to run.
   */
  async hasShutDown({ vmId, state, isCutOff }: RunningVm): Promise<boolean> {
    // The host process that has asked it may not have lived to see it.
    const isAnothers = isCutOff === true && !this.#askedHere.has(vmId);
    if (isAnothers && state === "ended") this.#asked.set(vmId, this.#world.clock.nowMs());
    const sinceMs = this.#asked.get(vmId);
    if (sinceMs === undefined) return false;
    if (state !== "ended") {
      if (this.#world.clock.nowMs() - sinceMs > SHUT_DOWN_MS_MAX) this.#asked.delete(vmId);
      return false;
    }
    await this.#kill(vmId);
    return true;
  }

  /** It goes on, or has ended. */
  forget(name: string): void {
    this.#standing.delete(name);
  }

  #isToEnd({ vmId }: RunningVm): boolean {
    const response = this.#responses.get(vmId);
    return response === "power-off" || response === "shut-down";
  }

  async #kill(name: string): Promise<void> {
    this.#hooks.ends(name);
    this.#asked.delete(name);
    this.#askedHere.delete(name);
    this.#standing.delete(name);
    await this.#world.hypervisor.kill(name);
    this.#hooks.event("warning", "vm-ended", name, "was ended: its host was cut off");
  }
}
