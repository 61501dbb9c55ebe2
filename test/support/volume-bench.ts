/**
 * A volume over fake components, its requests as promises, and a flat byte array of what it must
 * hold.
 */
import { assertDefined, BLOCK_SIZE_BYTES, type Prng } from "../../src/base/index.ts";
import type { TreeNode } from "../../src/cluster/index.ts";
import { Leg, LegMember, Legs } from "../../src/object/legs.ts";
import { ObjectLayout } from "../../src/object/object-layout.ts";
import { ObjectVolume } from "../../src/object/object-volume.ts";
import type { IoDone, IoFault, VolumeIo } from "../../src/object/index.ts";
import { FakeComponent, fakeMemory } from "./fake-component.ts";

/**
 * Runs components, one completion after the other, with their microtasks, until the condition
 * holds.
 */
export async function runUntil(
  components: readonly FakeComponent[],
  prng: Prng,
  condition: () => boolean,
): Promise<void> {
  for (let idle = 0; !condition();) {
    await turn();
    const busy = components.filter((component) => !component.isQuiet);
    if (busy.length > 0) {
      prng.pick(busy).step();
      idle = 0;
    } else if (++idle > 20) {
      throw new Error("nothing is left to happen, and what was waited for did not come");
    }
  }
}

/** Lets microtasks run. */
export async function turn(): Promise<void> {
  for (let i = 0; i < 4; i++) await Promise.resolve();
}

/** Where the data begin in targets of reads. */
const AT = BLOCK_SIZE_BYTES;
/** What is around them: less than two blocks on either side. */
const UNTOUCHED = new Uint8Array(2 * BLOCK_SIZE_BYTES).fill(0x55);

function isUntouched(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, UNTOUCHED.subarray(0, bytes.length)) === 0;
}

/** Requests as promises; each is submitted at once. */
export class Requests {
  readonly #volume: VolumeIo;
  readonly #waiting = new Map<number, (fault: IoFault | undefined) => void>();
  #nextToken = 0;
  /** Set while a call is made: an answer must not come from inside it. */
  #isCalling = false;

  constructor(volume: VolumeIo) {
    this.#volume = volume;
  }

  get pendingCount(): number {
    return this.#waiting.size;
  }

  write(bytes: Uint8Array, offset: number): Promise<IoFault | undefined> {
    // The source is used again at once, so whoever keeps a reference to it is found out.
    const source = new Uint8Array(bytes.length + 512);
    source.set(bytes, 512);
    return this.#call((done, token) => {
      this.#volume.write(source, 512, bytes.length, offset, done, token);
      source.fill(0xdd);
    });
  }

  async read(
    offset: number,
    lengthBytes: number,
  ): Promise<{ readonly fault: IoFault | undefined; readonly bytes: Uint8Array }> {
    const target = this.#volume.allocate(AT + Math.ceil(lengthBytes / AT + 1) * AT);
    target.bytes.fill(0x55);
    // At once where that can be done, as a front end does.
    const isRead = this.#volume.readNow(target, AT, lengthBytes, offset);
    const fault = isRead
      ? undefined
      : await this.#call((done, token) =>
          this.#volume.read(target, AT, lengthBytes, offset, done, token),
        );
    const isOutsideUntouched =
      isUntouched(target.bytes.subarray(0, AT)) &&
      isUntouched(target.bytes.subarray(AT + lengthBytes));
    if (!isOutsideUntouched) throw new Error("a read wrote outside of its target");
    return { fault, bytes: target.bytes.slice(AT, AT + lengthBytes) };
  }

  discard(offset: number, lengthBytes: number): Promise<IoFault | undefined> {
    return this.#call((done, token) => this.#volume.discard(offset, lengthBytes, done, token));
  }

  zero(offset: number, lengthBytes: number, keep: boolean): Promise<IoFault | undefined> {
    return this.#call((done, token) =>
      this.#volume.writeZeroes(offset, lengthBytes, keep, done, token),
    );
  }

  flush(): Promise<IoFault | undefined> {
    return this.#call((done, token) => this.#volume.flush(done, token));
  }

  #call(start: (done: IoDone, token: number) => void): Promise<IoFault | undefined> {
    return new Promise((resolve) => {
      const token = this.#nextToken++;
      this.#waiting.set(token, resolve);
      this.#isCalling = true;
      start(this.#done, token);
      this.#isCalling = false;
      this.#volume.submit();
    });
  }

  readonly #done: IoDone = (token, fault) => {
    if (this.#isCalling) throw new Error("an answer came from inside a call");
    const settle = assertDefined(this.#waiting.get(token), "a request was answered twice");
    this.#waiting.delete(token);
    settle(fault);
  };
}

export interface Bench {
  readonly volume: ObjectVolume;
  readonly legs: Legs;
  readonly components: readonly FakeComponent[];
  readonly requests: Requests;
  readonly stops: string[];
  readonly failures: { readonly member: LegMember; readonly fault: string }[];
  leaseIsAlive: boolean;
  /** Called from within the volume when a member has failed. */
  onFailure: () => void;
}

/** A volume with the tree over fresh components. */
export function benchOf(tree: TreeNode, sizeBytes: number, prng: Prng): Bench {
  const layout = new ObjectLayout(tree);
  const sizes = layout.componentSizes(Math.ceil(sizeBytes / BLOCK_SIZE_BYTES));
  const components = new Map<string, FakeComponent>();
  for (const [componentId, blockCount] of sizes)
    components.set(componentId, new FakeComponent(componentId, blockCount, prng));
  const legs = layout.legs.map(
    (leg) =>
      new Leg(
        leg,
        leg.componentIds.map((id) => new LegMember(id, components.get(id), "active")),
      ),
  );
  const stops: string[] = [];
  const failures: Bench["failures"] = [];
  const shared = new Legs(legs);
  const volume = new ObjectVolume({
    name: "v",
    sizeBytes,
    readOnly: false,
    epoch: 1,
    lastSequence: 0,
    legs: shared,
    allocate: fakeMemory,
    nowMs: () => 0,
    isLeaseAlive: () => bench.leaseIsAlive,
    onStopped: (_fault, reason) => void stops.push(reason),
    onMemberFailed: (member, fault) => {
      failures.push({ member, fault });
      bench.onFailure();
    },
    onDamage: () => {},
  });
  const bench: Bench = {
    volume,
    legs: shared,
    components: [...components.values()],
    requests: new Requests(volume),
    stops,
    failures,
    leaseIsAlive: true,
    onFailure: () => {},
  };
  return bench;
}

export function randomBytes(prng: Prng, lengthBytes: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  const words = new Uint32Array(bytes.buffer, 0, lengthBytes >>> 2);
  for (let i = 0; i < words.length; i++) words[i] = prng.u32();
  return bytes;
}

/** A range within the volume: mostly small and crowded, at times up to 1 MiB or aligned. */
export function randomRange(
  prng: Prng,
  sizeBytes: number,
): { readonly offset: number; readonly lengthBytes: number } {
  const isAligned = prng.chance(0.4);
  const unit = isAligned ? BLOCK_SIZE_BYTES : 512;
  const lengthMax = prng.chance(0.05) ? 1 << 20 : prng.pick([512, 4096, 8192, 20480]);
  const area = prng.chance(0.7) ? Math.min(sizeBytes, 64 * 1024) : sizeBytes;
  const units = Math.floor(area / unit);
  const first = prng.below(units);
  const count = Math.min(Math.max(1, prng.below(lengthMax / unit + 1)), units - first);
  return { offset: first * unit, lengthBytes: Math.max(1, count) * unit };
}
