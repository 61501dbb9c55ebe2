/** A vhost-user front end, written from the specification: builds messages, reads answers. */
import assert from "node:assert/strict";
import type {
  DescriptorStream,
  ReceivedDescriptor,
  RemoteEvent,
  SharedFile,
} from "../../src/ports/index.ts";

export const Ask = {
  getFeatures: 1,
  setFeatures: 2,
  setOwner: 3,
  setMemoryTable: 5,
  setLogBase: 6,
  setRingSize: 8,
  setRingAddresses: 9,
  setRingBase: 10,
  getRingBase: 11,
  setRingKick: 12,
  setRingCall: 13,
  setRingError: 14,
  getProtocolFeatures: 15,
  setProtocolFeatures: 16,
  getQueueCount: 17,
  enableRing: 18,
  setBackendChannel: 21,
  getConfig: 24,
  setConfig: 25,
  getInflight: 31,
  setInflight: 32,
  getMemorySlots: 36,
  addMemory: 37,
  removeMemory: 38,
} as const;

const VERSION = 1;
const NEED_REPLY = 8;
const ANSWER = 5;

export interface Answer {
  readonly request: number;
  readonly body: DataView;
  readonly descriptors: ReceivedDescriptor[];
}

export interface RegionPlace {
  readonly guestAddress: number | bigint;
  readonly sizeBytes: number | bigint;
  readonly userAddress: number | bigint;
  readonly fileOffset: number | bigint;
}

export function u32s(...values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  for (const [i, value] of values.entries()) view.setUint32(4 * i, value, true);
  return new Uint8Array(view.buffer);
}

export function u64s(...values: readonly (number | bigint)[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * values.length));
  for (const [i, value] of values.entries()) view.setBigUint64(8 * i, BigInt(value), true);
  return new Uint8Array(view.buffer);
}

export function regionBytes(place: RegionPlace): Uint8Array {
  return u64s(place.guestAddress, place.sizeBytes, place.userAddress, place.fileOffset);
}

export class FrontEnd {
  readonly stream: DescriptorStream;
  /** Lets the other side work, until there may be something to receive. */
  readonly #wait: () => Promise<void>;

  constructor(stream: DescriptorStream, wait: () => Promise<void>) {
    this.stream = stream;
    this.#wait = wait;
  }

  tell(
    request: number,
    body: Uint8Array = new Uint8Array(),
    carried: readonly (SharedFile | RemoteEvent)[] = [],
    flags: number = VERSION,
  ): void {
    const message = Buffer.concat([u32s(request, flags, body.length), body]);
    assert.ok(this.stream.send(message, carried), "the other side is there");
  }

  /** Tells, and waits until it is done; what it came to: 0 well. */
  async tellAndWait(
    request: number,
    body: Uint8Array = new Uint8Array(),
    carried: readonly (SharedFile | RemoteEvent)[] = [],
  ): Promise<number> {
    this.tell(request, body, carried, VERSION | NEED_REPLY);
    const answer = await this.answer(request);
    return Number(answer.body.getBigUint64(0, true));
  }

  async ask(request: number, body: Uint8Array = new Uint8Array()): Promise<Answer> {
    this.tell(request, body);
    return await this.answer(request);
  }

  async askNumber(request: number): Promise<bigint> {
    return (await this.ask(request)).body.getBigUint64(0, true);
  }

  async answer(request: number): Promise<Answer> {
    const descriptors: ReceivedDescriptor[] = [];
    const head = new DataView((await this.#receive(12, descriptors)).buffer);
    assert.equal(head.getUint32(0, true), request);
    assert.equal(head.getUint32(4, true), ANSWER);
    const body = await this.#receive(head.getUint32(8, true), descriptors);
    return { request, body: new DataView(body.buffer), descriptors };
  }

  /** Waits for the end of the connection. */
  async ended(): Promise<void> {
    const byte = new Uint8Array(1);
    for (;;) {
      const count = this.stream.receive(byte, 0, 1, []);
      if (count < 0) return;
      if (count === 0) await this.#wait();
    }
  }

  async #receive(lengthBytes: number, descriptors: ReceivedDescriptor[]): Promise<Uint8Array> {
    const bytes = new Uint8Array(new ArrayBuffer(lengthBytes));
    let filled = 0;
    while (filled < lengthBytes) {
      const count = this.stream.receive(bytes, filled, lengthBytes - filled, descriptors);
      assert.ok(count >= 0, "the connection has ended");
      filled += count;
      if (count === 0) await this.#wait();
    }
    return bytes;
  }
}
