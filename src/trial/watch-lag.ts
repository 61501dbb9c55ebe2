/**
 * A host hears late of what has changed in the directory, while its calls are answered at once: its
 * lease lives, and what it knows is old. Events come in order, and those of one revision at once.
 */
import { marks } from "../base/index.ts";
import type { Directory, DirectoryEvent, DirectoryWrite } from "../ports/index.ts";
import type { SimMachine } from "../sim/index.ts";

interface Late {
  readonly machine: SimMachine;
  readonly deliver: () => void;
}

/** Less than a client waits for an answer. */
const CHANGE_MS_MAX = 4000;

/** Of one host, whatever machine it runs on. */
export class WatchLag {
  #isLagging = false;
  #areChangesLate = false;
  #late: Late[] = [];
  #held: (() => void)[] = [];

  /** `areChangesLate`: what the host itself changes takes long, too, all but its lease. */
  begin(areChangesLate = false): void {
    this.#isLagging = true;
    this.#areChangesLate = areChangesLate;
  }

  /** What has come meanwhile is heard of. */
  end(): void {
    this.#isLagging = false;
    this.#areChangesLate = false;
    for (const goOn of this.#held.splice(0)) goOn();
    for (const machine of new Set(this.#late.map((one) => one.machine)))
      machine.schedule(0, () => this.#drain(machine));
  }

  /** Now, or when the lag ends; never before what came earlier. */
  pass(machine: SimMachine, deliver: () => void): void {
    if (!this.#isLagging && !this.#late.some((one) => one.machine === machine)) return deliver();
    marks.hit("an event of the directory came late");
    this.#late.push({ machine, deliver });
  }

  /** Before a change is asked for. */
  async change(machine: SimMachine): Promise<void> {
    if (!this.#areChangesLate) return;
    await new Promise<void>((resolve) => {
      const goOn = (): void => machine.schedule(0, resolve);
      this.#held.push(goOn);
      machine.clock.after(CHANGE_MS_MAX, resolve);
    });
  }

  #drain(machine: SimMachine): void {
    if (this.#isLagging) return;
    const due = this.#late.filter((one) => one.machine === machine);
    this.#late = this.#late.filter((one) => one.machine !== machine);
    for (const { deliver } of due) deliver();
  }
}

function isUnderLease(write: DirectoryWrite): boolean {
  return write.kind === "put" && write.lease !== undefined;
}

/** The directory as a host has it whose watches may lag. */
export function lagging(inner: Directory, machine: SimMachine, lag: WatchLag): Directory {
  return {
    get: (key) => inner.get(key),
    list: (prefix) => inner.list(prefix),
    stamp: (prefix) => inner.stamp(prefix),
    transact: async (conditions, writes) => {
      if (!writes.some(isUnderLease)) await lag.change(machine);
      return await inner.transact(conditions, writes);
    },
    grantLease: (ttlMs) => inner.grantLease(ttlMs),
    keepAlive: (lease) => inner.keepAlive(lease),
    revokeLease: (lease) => inner.revokeLease(lease),
    close: () => inner.close(),
    watch: (prefix, fromRevision, onEvent, onLost) => {
      let isOver = false;
      const late = (deliver: () => void): void =>
        lag.pass(machine, () => void (isOver || deliver()));
      const watch = inner.watch(
        prefix,
        fromRevision,
        (event: DirectoryEvent) => late(() => onEvent(event)),
        () => late(onLost),
      );
      return {
        cancel: () => {
          isOver = true;
          watch.cancel();
        },
      };
    },
  };
}
