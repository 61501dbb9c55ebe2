/**
 * The small home of each virtual machine in the object store: what was last decided about its
 * protection, kept where its disks are kept and reached as they are. Two slots are written in turn,
 * so the older one stands while the newer one is written; a sequence says which is which, and makes
 * a late write change nothing.
 */
import { BLOCK_SIZE_BYTES, CodedError, crc32c, decodeUtf8, encodeUtf8 } from "../base/index.ts";
import { findVolume, NAMESPACE_MARK } from "../cluster/index.ts";
import type { ObjectPolicy, ObjectRecord } from "../cluster/index.ts";
import { ObjectOwner } from "../object/index.ts";
import type { OwnerWorld, VolumeIo } from "../object/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import type { NewClusterVolume } from "./host-plane.ts";

const SLOT_BYTES: number = 16 * BLOCK_SIZE_BYTES;
const SIZE_BYTES: number = 2 * SLOT_BYTES;
const FORMAT = 1;
/** Another host may be at it for a moment. */
const IN_USE_MS_MAX = 2000;
/** Whoever removes it waits for those, too, who wait for each other to write it. */
const REMOVE_IN_USE_MS_MAX = 10_000;
const IN_USE_RETRY_MS = 100;

/** What a namespace object says. */
export interface NamespaceState {
  readonly vm: string;
  /** Grows with every change of what is wanted. */
  readonly sequence: number;
  readonly isProtected: boolean;
  /** What the machine is, as text that only its writer understands. */
  readonly definition: string;
}

export interface NamespaceWorld {
  readonly ownerWorld: () => OwnerWorld;
  readonly create: (volume: NewClusterVolume) => Promise<ObjectRecord>;
  readonly remove: (name: string) => Promise<void>;
}

/** The name under which no user can make a volume. */
export function namespaceName(vm: string): string {
  return `${NAMESPACE_MARK}${vm}`;
}

export class NamespaceObjects {
  readonly #world: NamespaceWorld;
  readonly #memories: DiskMemory[] = [];

  constructor(world: NamespaceWorld) {
    this.#world = world;
  }

  /**
   * Durable on every copy when it resolves. A state that is not newer than what is there changes
   * nothing. The object is made if there is none. Fails as ownership does: `object-inaccessible`,
   * `volume-in-use`, `policy-unsatisfiable`.
   */
  async persist(state: NamespaceState, policy: ObjectPolicy): Promise<ObjectRecord> {
    const record = await this.#findOrMake(state.vm, policy);
    await this.#owned(record, async (home) => {
      const slots = await home.read();
      const newest = newestOf(slots, state.vm);
      if (newest !== undefined && newest.state.sequence >= state.sequence) return;
      const isFirst = newest === undefined || newest.slot === 1;
      await home.write(isFirst ? 0 : 1, encode(state));
    });
    return record;
  }

  /** Undefined if there is none, or nothing in it. Fails as `persist`. */
  async retrieve(vm: string): Promise<NamespaceState | undefined> {
    const found = await this.#find(vm);
    if (found === undefined) return undefined;
    return await this.#owned(found, async (home) => newestOf(await home.read(), vm)?.state);
  }

  /** Does nothing if there is none. Waits for hosts that are at it: fails with `volume-in-use`. */
  async remove(vm: string): Promise<void> {
    await this.#whenFree(REMOVE_IN_USE_MS_MAX, async () => {
      if ((await this.#find(vm)) === undefined) return;
      try {
        await this.#world.remove(namespaceName(vm));
      } catch (error) {
        // Another host was faster.
        if (!(error instanceof CodedError) || error.code !== "volume-not-found") throw error;
      }
    });
  }

  async #find(vm: string): Promise<ObjectRecord | undefined> {
    const { directory, clusterId } = this.#world.ownerWorld();
    try {
      return (await findVolume(directory, clusterId, namespaceName(vm))).record;
    } catch (error) {
      if (error instanceof CodedError && error.code === "volume-not-found") return undefined;
      throw error;
    }
  }

  async #findOrMake(vm: string, policy: ObjectPolicy): Promise<ObjectRecord> {
    const found = await this.#find(vm);
    if (found !== undefined) return found;
    const wanted = { name: namespaceName(vm), sizeBytes: SIZE_BYTES, policy };
    return await this.#world.create(wanted);
  }

  /** For a moment only: whoever is asked next may be another host. */
  async #owned<T>(record: ObjectRecord, work: (home: Home) => Promise<T>): Promise<T> {
    const owner = await this.#take(record.objectId);
    const memory = this.#memories.pop() ?? owner.volume.allocate(SIZE_BYTES);
    try {
      return await work(new Home(owner.volume, memory));
    } finally {
      // Closed first: what was called of it has been answered then.
      await owner.close();
      this.#memories.push(memory);
    }
  }

  async #take(objectId: string): Promise<ObjectOwner> {
    const world = this.#world.ownerWorld();
    return await this.#whenFree(IN_USE_MS_MAX, () => ObjectOwner.take(world, objectId, false));
  }

  async #whenFree<T>(ms: number, attempt: () => Promise<T>): Promise<T> {
    const { clock } = this.#world.ownerWorld();
    const endMs = clock.nowMs() + ms;
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        const isInUse = error instanceof CodedError && error.code === "volume-in-use";
        if (!isInUse || clock.nowMs() > endMs) throw error;
        await new Promise<void>((resolve) => void clock.after(IN_USE_RETRY_MS, resolve));
      }
    }
  }
}

interface Found {
  readonly slot: number;
  readonly state: NamespaceState;
}

class Home {
  readonly #volume: VolumeIo;
  readonly #memory: DiskMemory;

  constructor(volume: VolumeIo, memory: DiskMemory) {
    this.#volume = volume;
    this.#memory = memory;
  }

  async read(): Promise<Uint8Array> {
    await this.#request((done) => {
      this.#volume.read(this.#memory, 0, SIZE_BYTES, 0, done, 0);
    });
    return this.#memory.bytes;
  }

  async write(slot: number, bytes: Uint8Array): Promise<void> {
    await this.#request((done) => {
      this.#volume.write(bytes, 0, SLOT_BYTES, slot * SLOT_BYTES, done, 0);
    });
  }

  #request(
    call: (done: (token: number, fault: string | undefined) => void) => void,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      call((_token, fault) => {
        if (fault === undefined) resolve();
        else reject(failed(this.#volume.name, fault));
      });
      this.#volume.submit();
    });
  }
}

function failed(name: string, fault: string): CodedError {
  return new CodedError({
    code: "object-inaccessible",
    message: `${name} cannot be read or written: ${fault}`,
  });
}

/** Length and checksum, then the text. */
function encode(state: NamespaceState): Uint8Array {
  const text = encodeUtf8(JSON.stringify({ format: FORMAT, ...state }));
  if (text.length > SLOT_BYTES - 8)
    throw new CodedError({
      code: "vm-invalid",
      message: `the definition of ${state.vm} takes ${text.length} bytes, too many to be kept`,
    });
  const slot = new Uint8Array(SLOT_BYTES);
  const view = new DataView(slot.buffer);
  view.setUint32(0, text.length, true);
  view.setUint32(4, crc32c(text), true);
  slot.set(text, 8);
  return slot;
}

function newestOf(bytes: Uint8Array, vm: string): Found | undefined {
  const found = [0, 1]
    .map((slot) => decode(bytes.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES), slot, vm))
    .filter((one) => one !== undefined);
  return found.toSorted((a, b) => b.state.sequence - a.state.sequence)[0];
}

/** Undefined for a slot that was never written, or not to its end. */
function decode(bytes: Uint8Array, slot: number, vm: string): Found | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0, true);
  if (length === 0 || length > SLOT_BYTES - 8) return undefined;
  const text = bytes.subarray(8, 8 + length);
  if (crc32c(text) !== view.getUint32(4, true)) return undefined;
  const said = JSON.parse(decodeUtf8(text) ?? "{}") as Record<string, unknown>;
  if (said["format"] !== FORMAT)
    throw new CodedError({
      code: "vm-invalid",
      message: `what is kept about ${vm} has format ${String(said["format"])}, not ${FORMAT}`,
      hint: "It was written by a newer version of Drystone",
    });
  const { sequence, isProtected, definition } = said;
  const state = { vm, sequence: Number(sequence), isProtected: isProtected === true };
  return { slot, state: { ...state, definition: String(definition) } };
}
