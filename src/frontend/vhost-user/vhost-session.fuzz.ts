/**
 * A hostile front end and a hostile guest at once: messages that are nearly right, descriptors that
 * point nearly into memory, rings scribbled over while requests are under way. Whatever they do:
 * nothing throws, also where memory cannot be mapped, no byte around the guest's memory changes,
 * memory stays bounded, and at the end everything is given back. `npm run fuzz -- vhost --inputs N`
 * runs more of it; a seed is a few dozen inputs.
 */
import assert from "node:assert/strict";
import { Ask, regionBytes, u32s, u64s } from "../../../test/vhost-user/front-end.ts";
import { MemoryEvent, MemoryFile } from "../../../test/vhost-user/memory-file.ts";
import { MemoryStream } from "../../../test/vhost-user/memory-stream.ts";
import {
  GUEST_ADDRESS,
  SessionWorld,
  USER_ADDRESS,
} from "../../../test/vhost-user/session-world.ts";
import { CodedError, Prng } from "../../base/index.ts";

const PAGE = 4096;
const ENTRIES = 16;
const QUEUES = 2;
const ACTIONS_MAX = 60;
const FAULTS = ["io-error", "no-space", "not-owner", "shutting-down"] as const;
const REQUESTS = Object.values(Ask);
const TYPES = [0, 1, 4, 8, 11, 13, 99] as const;

/** Runs one seed; the number of inputs that it took. */
export async function fuzzSession(seed: number): Promise<number> {
  const attack = new Attack(new Prng(seed));
  await attack.run();
  return attack.inputs;
}

class Attack {
  readonly #prng: Prng;
  readonly #world: SessionWorld;
  readonly #files: MemoryFile[] = [];
  readonly #events: MemoryEvent[] = [];
  readonly #mayFailToMap: boolean;
  /** The last message has described the guest's memory as it is, and nothing around it. */
  #isOwnRegion = false;
  inputs = 0;

  constructor(prng: Prng) {
    this.#prng = prng;
    const readOnly = prng.chance(0.1);
    const completions = prng.chance(0.5) ? "by-test" : "after-submit";
    this.#world = new SessionWorld({ completions, readOnly });
    this.#world.driver.isLenient = true;
    if (prng.chance(0.3))
      this.#world.volume.fault = () => (prng.chance(0.1) ? prng.pick(FAULTS) : undefined);
    this.#mayFailToMap = prng.chance(0.3);
    this.#world.file.mapFault = this.#mapFault;
  }

  async run(): Promise<void> {
    const world = this.#world;
    if (this.#prng.chance(0.9)) {
      await world.negotiate();
      world.tellMemory();
      await world.startRing();
    }
    const actions = this.#prng.between(1, ACTIONS_MAX);
    for (let i = 0; i < actions && !world.hasEnded; i++) {
      this.#act();
      this.inputs++;
      this.#deliver();
    }
    await world.settle();
    assert.ok(world.memories <= QUEUES, "memory grows");
    await this.#finish();
  }

  async #finish(): Promise<void> {
    const world = this.#world;
    if (!world.hasEnded) {
      if (this.#prng.chance(0.5)) world.front.stream.close();
      else world.session.end(undefined);
    }
    await world.settle();
    while (world.volume.waitingCount > 0) world.volume.deliver(() => 0);
    await world.settle();
    assert.ok(world.hasEnded, "a session outlives its front end");
    assert.ok(world.isDrained, "a session waits for requests that the volume has answered");
    assert.ok(world.guardIsWhole, "bytes around the guest's memory were written");
    assert.equal(world.memories, 0, "a session keeps its memory");
    assert.equal(world.stream.openDescriptors.size, 0, "a descriptor was left open");
    for (const file of [world.file, ...this.#files, ...world.shared.files]) {
      assert.equal(file.mappedCount, 0, "a mapping was left");
      assert.equal(file.openCount, 0, "a file was left open");
    }
    for (const event of [world.kick, world.call, ...this.#events])
      assert.equal(event.openCount, 0, "an event was left open");
  }

  #act(): void {
    const dice = this.#prng.below(100);
    if (dice < 10) this.#message();
    else if (dice < 50) this.#offer();
    else if (dice < 52) this.#scribble();
    else if (dice < 54) this.#spoilRequests();
    else if (dice < 75) this.#answer();
    else this.#kick();
  }

  #deliver(): void {
    const world = this.#world;
    if (this.#prng.chance(0.7)) world.kick.deliver();
    if (this.#prng.chance(0.7)) world.stream.deliver();
  }

  #kick(): void {
    this.#world.kick.signal();
  }

  #answer(): void {
    const { volume } = this.#world;
    if (volume.waitingCount > 0) volume.deliver((count) => this.#prng.below(count));
  }

  /** Values near the borders of what is allowed. */
  #address(base: number, lengthBytes: number): number {
    const prng = this.#prng;
    if (prng.chance(0.98)) return base + prng.below(lengthBytes - 8 * PAGE);
    const edges = [0, base - 1, base + lengthBytes - 1, base + lengthBytes, 2 ** 32, 2 ** 52];
    return prng.pick(edges) + prng.between(0, 16);
  }

  #length(): number {
    const lengths = [0, 1, 15, 16, 17, 512, 513, PAGE, 3 * PAGE, 2 ** 20, 2 ** 32 - 1];
    return this.#prng.chance(0.97) ? 512 * this.#prng.between(1, 8) : this.#prng.pick(lengths);
  }

  /** A request that is right, nearly right, or anything. */
  #offer(): void {
    const { driver, bytes } = this.#world;
    const prng = this.#prng;
    const dataAt = Math.ceil(driver.endAt / PAGE) * PAGE;
    if (driver.freeCount < 6) driver.collect();
    if (driver.freeCount < 6 && prng.chance(0.9)) return;
    if (driver.freeCount < 6 || prng.chance(0.02)) {
      driver.offer(prng.below(2 * ENTRIES));
      return;
    }
    const headAt = dataAt + 16 * prng.below(16);
    const view = new DataView(bytes.buffer, bytes.byteOffset + headAt, 16);
    view.setUint32(0, prng.pick(TYPES), true);
    view.setBigUint64(8, BigInt(prng.chance(0.9) ? prng.below(2100) : prng.u32() * 2 ** 21), true);
    const buffer = (deviceWrites: boolean) => ({
      address: this.#address(GUEST_ADDRESS, bytes.length),
      lengthBytes: this.#length(),
      deviceWrites: prng.chance(0.005) ? !deviceWrites : deviceWrites,
    });
    const isRead = prng.chance(0.5);
    const data = Array.from({ length: prng.below(4) }, () => buffer(isRead));
    const head = { address: GUEST_ADDRESS + headAt, lengthBytes: 16, deviceWrites: false };
    const status = { address: GUEST_ADDRESS + dataAt + 512, lengthBytes: 1, deviceWrites: true };
    const chain = [...(prng.chance(0.99) ? [head] : []), ...data, status];
    const tableAt = dataAt + PAGE * prng.between(1, 3);
    driver.offer(
      prng.chance(0.4) ? driver.describeIndirect(chain, tableAt) : driver.describe(chain),
    );
    if (prng.chance(0.5)) driver.collect();
  }

  /** Bytes of rings and buffers change while the device looks at them. */
  #scribble(): void {
    const { bytes, driver } = this.#world;
    const prng = this.#prng;
    const count = prng.between(1, 8);
    const limit = prng.chance(0.7) ? driver.endAt : bytes.length;
    for (let i = 0; i < count; i++) bytes[prng.below(limit)] = prng.u32();
  }

  #spoilRequests(): void {
    const prng = this.#prng;
    const { files } = this.#world.shared;
    if (files.length === 0) return;
    const { bytes } = prng.pick(files);
    for (let i = prng.between(1, 6); i > 0; i--) bytes[prng.below(bytes.length)] = prng.u32();
  }

  #message(): void {
    const { front } = this.#world;
    const prng = this.#prng;
    const request = prng.chance(0.95) ? prng.pick(REQUESTS) : prng.below(60);
    let body = this.#body(request);
    if (prng.chance(0.2)) {
      body = this.#bent(body);
      this.#isOwnRegion = false;
    }
    const flags = prng.chance(0.95) ? prng.pick([1, 9]) : prng.below(16);
    const carried = this.#carried(request);
    const message = Buffer.concat([u32s(request, flags, body.length), body]);
    const { other } = this.#world.stream;
    if (other === undefined || other.isClosed) return;
    const cut = prng.chance(0.05) ? prng.below(message.length) : message.length;
    if (cut > 0) other.send(message.subarray(0, cut), carried);
    if (cut < message.length && prng.chance(0.5)) front.stream.send(message.subarray(cut), []);
  }

  #bent(body: Uint8Array): Uint8Array {
    const prng = this.#prng;
    const bent = body.slice(0, prng.chance(0.3) ? prng.below(body.length + 1) : body.length);
    if (bent.length > 0)
      for (let i = prng.between(1, 4); i > 0; i--) bent[prng.below(bent.length)] = prng.u32();
    return bent;
  }

  #body(request: number): Uint8Array {
    const prng = this.#prng;
    const ring = prng.below(QUEUES + 1);
    const { driver, region } = this.#world;
    const features = u64s((1n << 32n) | (1n << 30n) | (BigInt(prng.below(16)) << 26n));
    switch (request) {
      case Ask.setFeatures:
        return features;
      case Ask.setMemoryTable:
        this.#isOwnRegion = prng.chance(0.7);
        return Buffer.concat([u32s(1, 0), this.#isOwnRegion ? region : this.#region()]);
      case Ask.addMemory:
      case Ask.removeMemory:
        this.#isOwnRegion = prng.chance(0.4);
        return Buffer.concat([u64s(0), this.#isOwnRegion ? region : this.#region()]);
      case Ask.setRingAddresses:
        return this.#world.ringAddresses(driver, ring);
      case Ask.setRingSize:
        return u32s(ring, prng.pick([0, 1, ENTRIES, 17, 1024, 2048]));
      case Ask.setRingBase:
        return u32s(ring, prng.pick([0, driver.available, 0xffff, 0x10000]));
      case Ask.getRingBase:
      case Ask.enableRing:
        return u32s(ring, prng.below(3));
      case Ask.setLogBase:
        return u64s(prng.pick([0, PAGE, 16 * PAGE, 2 ** 40]), prng.pick([0, PAGE, 5, 2 ** 60]));
      case Ask.getConfig:
      case Ask.setConfig:
        return Buffer.concat([u32s(prng.pick([0, 32, 250]), 4, 0), new Uint8Array(4)]);
      case Ask.getInflight:
      case Ask.setInflight:
        return Buffer.concat([
          u64s(prng.pick([0, 640, PAGE, 2 ** 60]), prng.pick([0, PAGE, 7])),
          new Uint8Array(Uint16Array.of(prng.below(4), prng.pick([0, ENTRIES, 4096]), 0, 0).buffer),
        ]);
      case Ask.setRingKick:
      case Ask.setRingCall:
      case Ask.setRingError:
      case Ask.setProtocolFeatures:
        return u64s(ring);
      default:
        return new Uint8Array();
    }
  }

  #region(): Uint8Array {
    const size = PAGE * this.#prng.between(1, 16);
    const edges = [0, 1, PAGE, 2 ** 44, 2 ** 52 - PAGE, 2n ** 63n];
    return regionBytes({
      guestAddress: this.#prng.pick([GUEST_ADDRESS, GUEST_ADDRESS + 64 * PAGE, ...edges]),
      sizeBytes: this.#prng.pick([size, size, size, ...edges]),
      userAddress: this.#prng.pick([USER_ADDRESS, ...edges]),
      fileOffset: this.#prng.pick([0, 0, PAGE, ...edges]),
    });
  }

  #carried(request: number): (MemoryFile | MemoryEvent | MemoryStream)[] {
    const prng = this.#prng;
    if (prng.chance(0.05)) return Array.from({ length: prng.below(4) }, () => this.#event());
    switch (request) {
      case Ask.setMemoryTable:
      case Ask.addMemory:
        return [this.#isOwnRegion ? this.#world.file : this.#file()];
      case Ask.setLogBase:
        return [this.#file()];
      case Ask.setInflight:
        return [this.#world.shared.files.at(-1) ?? this.#file()];
      case Ask.setRingKick:
      case Ask.setRingCall:
      case Ask.setRingError:
        return [this.#event()];
      case Ask.setBackendChannel:
        return [MemoryStream.pair()[0]];
      default:
        return [];
    }
  }

  /** As where a file was sealed after it was taken, or address space ran out. */
  readonly #mapFault = (): Error | undefined => {
    if (!this.#mayFailToMap || this.#prng.chance(0.9)) return undefined;
    const fault = { code: "memory-not-mappable", message: "mmap: EPERM" };
    return this.#prng.chance(0.8) ? new CodedError(fault) : new Error("mmap: ENOMEM");
  };

  #file(): MemoryFile {
    const file = new MemoryFile(16 * PAGE);
    file.mapFault = this.#mapFault;
    this.#files.push(file);
    return file;
  }

  #event(): MemoryEvent {
    const event = new MemoryEvent();
    this.#events.push(event);
    return event;
  }
}
