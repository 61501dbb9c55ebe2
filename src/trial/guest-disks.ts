/**
 * The object store as virtual machines see it, in a few lines: each disk is a counter in copies on
 * hosts, written by whoever owns it. To own it is to have a higher epoch granted by more than half
 * of the copies, which refuse all lower ones from then on. Whatever is on its way may be late.
 */
import { assertDefined, CodedError } from "../base/index.ts";
import type { Prng } from "../base/index.ts";
import type { VmRecord } from "../cluster/index.ts";
import type { ProtectionState, VmReach, VmStorage } from "../ha/index.ts";
import type { Clock } from "../ports/index.ts";

const LATENCY_MS_MAX = 4;
const ANSWER_MS_MAX = 3000;

/** What was written, and by whom; the newest is the one with the highest epoch and sequence. */
interface Written {
  readonly epoch: number;
  readonly sequence: number;
  readonly value: number;
}

interface Copy {
  readonly host: string;
  /** Owners of lower epochs are refused. */
  fence: number;
  written: Written;
}

export interface OwnedDisk {
  readonly disk: string;
  readonly host: string;
  readonly epoch: number;
  sequence: number;
  /** What it held when it was taken. */
  readonly value: number;
}

export class GuestDisks {
  readonly #clock: Clock;
  readonly #prng: Prng;
  readonly #isFenced: boolean;
  readonly #copies = new Map<string, readonly Copy[]>();
  readonly #homes = new Map<string, ProtectionState>();
  readonly #down = new Set<string>();
  /** By host, which part of the storage network it is in. */
  readonly #parts = new Map<string, number>();
  readonly #lateMs = new Map<string, number>();
  readonly #hosts: readonly string[];
  /** Called when who reaches whom has changed. */
  onReach: () => void = () => {};

  constructor(clock: Clock, prng: Prng, hosts: readonly string[], isFenced: boolean) {
    this.#clock = clock;
    this.#prng = prng;
    this.#hosts = hosts;
    this.#isFenced = isFenced;
  }

  create(disk: string, hosts: readonly string[]): void {
    const written = { epoch: 0, sequence: 0, value: 0 };
    const copies = hosts.map((host) => ({ host, fence: 0, written }));
    this.#copies.set(disk, copies);
  }

  /** Those hosts reach each other and nobody else. */
  split(side: readonly string[]): void {
    for (const host of this.#hosts) this.#parts.set(host, side.includes(host) ? 1 : 0);
    this.onReach();
  }

  /** In as many parts as there are, each reaching nobody outside of it. */
  setParts(parts: ReadonlyMap<string, number>): void {
    for (const host of this.#hosts) this.#parts.set(host, parts.get(host) ?? 0);
    this.onReach();
  }

  /** What the machine's home says, wherever it lies. */
  homeOf(vm: string): ProtectionState | undefined {
    return this.#homes.get(vm);
  }

  setUp(host: string, isUp: boolean): void {
    if (isUp) this.#down.delete(host);
    else this.#down.add(host);
    this.onReach();
  }

  /** What that host sends is on its way for so long. */
  setLate(host: string, ms: number): void {
    this.#lateMs.set(host, ms);
  }

  /** Fails with `object-inaccessible` where less than half of it is in reach. */
  async take(disk: string, host: string): Promise<OwnedDisk> {
    const seen = await this.#ask(disk, host, (copy) => ({ fence: copy.fence, ...copy.written }));
    const highest = Math.max(...seen.map(({ fence }) => fence));
    const epoch = highest + (this.#isFenced ? 1 : 0);
    const granted = await this.#ask(disk, host, (copy) => {
      if (this.#isFenced && copy.fence >= epoch) return undefined;
      copy.fence = epoch;
      return copy.written;
    });
    const newest = granted.toSorted((a, b) => b.epoch - a.epoch || b.sequence - a.sequence)[0]!;
    const owned = { disk, host, epoch, sequence: 0, value: newest.value };
    // What only some have must not come and go.
    if (await this.write(owned, newest.value)) return owned;
    throw lost(disk);
  }

  /** True once more than half of the copies hold it. */
  async write(owned: OwnedDisk, value: number): Promise<boolean> {
    const { disk, host, epoch } = owned;
    const sequence = ++owned.sequence;
    try {
      await this.#ask(disk, host, (copy) => {
        if (epoch < copy.fence) return undefined;
        const isNewer = epoch > copy.written.epoch || sequence > copy.written.sequence;
        if (isNewer || !this.#isFenced) copy.written = { epoch, sequence, value };
        return copy.written;
      });
      return true;
    } catch (error) {
      if (error instanceof CodedError) return false;
      throw error;
    }
  }

  /** What anybody would find who took it now and reached all of it. */
  valueOf(disk: string): number {
    const all = this.#copiesOf(disk).map(({ written }) => written);
    return all.toSorted((a, b) => b.epoch - a.epoch || b.sequence - a.sequence)[0]!.value;
  }

  isAccessible(host: string, disk: string): boolean {
    const copies = this.#copiesOf(disk);
    return 2 * copies.filter((copy) => this.#reaches(host, copy.host)).length > copies.length;
  }

  /** All disks of the machine. */
  reachesAll(host: string, { volumes }: Pick<VmRecord, "volumes">): boolean {
    return volumes.every((disk) => this.isAccessible(host, disk));
  }

  storageOf(host: string): VmStorage {
    return {
      reach: async (vms) => this.#reach(host, vms),
      persist: async ({ name, volumes, protectionSequence: sequence, isProtected }) => {
        await this.#pass(LATENCY_MS_MAX);
        if (!this.isAccessible(host, volumes[0]!)) throw lost(name);
        if ((this.#homes.get(name)?.sequence ?? -1) < sequence)
          this.#homes.set(name, { vm: name, sequence, isProtected });
      },
      retrieve: async (vms) => {
        await this.#pass(LATENCY_MS_MAX);
        const found = vms.filter((vm) => this.isAccessible(host, `${vm}-disk`));
        return found.map((vm) => this.#homes.get(vm)).filter((state) => state !== undefined);
      },
    };
  }

  #reach(host: string, vms: readonly VmRecord[]): VmReach {
    const lacking = vms.filter((vm) => !this.reachesAll(host, vm));
    return {
      reaches: this.#hosts.filter((other) => this.#reaches(host, other)),
      inaccessible: lacking.map(({ name }) => ({ vm: name, reason: "too few votes in reach" })),
    };
  }

  /** Whether a process that is up reaches another one that is. */
  reaches(from: string, to: string): boolean {
    return !this.#down.has(from) && this.#reaches(from, to);
  }

  #reaches(from: string, to: string): boolean {
    return !this.#down.has(to) && this.#partOf(from) === this.#partOf(to);
  }

  #partOf(host: string): number {
    return this.#parts.get(host) ?? 0;
  }

  #copiesOf(disk: string): readonly Copy[] {
    return assertDefined(this.#copies.get(disk), "no such disk");
  }

  /** Resolves with more than half of the answers. What is asked may arrive after that, or never. */
  #ask<T>(disk: string, from: string, work: (copy: Copy) => T | undefined): Promise<readonly T[]> {
    const copies = this.#copiesOf(disk);
    const answers: T[] = [];
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(ANSWER_MS_MAX, () => reject(lost(disk)));
      const ask = async (copy: Copy): Promise<void> => {
        if (!this.#reaches(from, copy.host)) return;
        await this.#pass(LATENCY_MS_MAX + (this.#lateMs.get(from) ?? 0));
        // It is up; a cut does not undo what has passed it.
        if (this.#down.has(copy.host)) return;
        const answer = work(copy);
        await this.#pass(LATENCY_MS_MAX);
        if (answer === undefined || !this.#reaches(copy.host, from)) return;
        answers.push(answer);
        if (2 * answers.length <= copies.length) return;
        timer.cancel();
        resolve(answers.slice());
      };
      for (const copy of copies) ask(copy).catch(reject);
    });
  }

  #pass(ms: number): Promise<void> {
    const delayMs = (ms * this.#prng.below(1000)) / 1000;
    return new Promise((resolve) => void this.#clock.after(delayMs, resolve));
  }
}

function lost(what: string): CodedError {
  return new CodedError({
    code: "object-inaccessible",
    message: `too few copies of ${what} answer, or they belong to somebody else`,
  });
}
