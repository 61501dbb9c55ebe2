/** A guest that makes requests at a queue. */
import assert from "node:assert/strict";
import { GUEST_ADDRESS, QueueWorld } from "./queue-world.ts";
import type { GuestBuffer } from "./model-driver.ts";

const READ = 0;
const OK = 0;
const UNTOUCHED = 0xff;

/** Requests as a driver makes them: head, data, status in buffers of their own. */
export class Guest extends QueueWorld {
  #nextAt = this.dataAt;

  place(lengthBytes: number): number {
    const at = this.#nextAt;
    this.#nextAt += Math.ceil(lengthBytes / 16) * 16;
    assert.ok(this.#nextAt <= this.bytes.length, "the guest has memory");
    return at;
  }

  head(type: number, sector: number): GuestBuffer {
    const at = this.place(16);
    const view = new DataView(this.bytes.buffer, this.bytes.byteOffset + at, 16);
    view.setUint32(0, type, true);
    view.setUint32(4, 1, true);
    view.setBigUint64(8, BigInt(sector), true);
    return { address: GUEST_ADDRESS + at, lengthBytes: 16, deviceWrites: false };
  }

  buffer(lengthBytes: number, deviceWrites: boolean, fill = 0): GuestBuffer {
    const at = this.place(lengthBytes);
    this.bytes.fill(fill, at, at + lengthBytes);
    return { address: GUEST_ADDRESS + at, lengthBytes, deviceWrites };
  }

  bytesOf({ address, lengthBytes }: GuestBuffer): Uint8Array {
    const at = address - GUEST_ADDRESS;
    return this.bytes.subarray(at, at + lengthBytes);
  }

  /** Runs one request; the status, or 0xFF if there was no answer. */
  async ask(
    type: number,
    sector: number,
    data: readonly GuestBuffer[] = [],
    indirect = false,
  ): Promise<number> {
    const status = this.buffer(1, true, UNTOUCHED);
    const buffers = [this.head(type, sector), ...data, status];
    const tableAt = indirect ? this.place(16 * buffers.length) : 0;
    this.driver.offer(
      indirect ? this.driver.describeIndirect(buffers, tableAt) : this.driver.describe(buffers),
    );
    await this.run();
    this.driver.collect();
    return this.bytesOf(status)[0]!;
  }

  async read(sector: number, lengthBytes: number): Promise<Uint8Array> {
    const data = this.buffer(lengthBytes, true, 0xee);
    assert.equal(await this.ask(READ, sector, [data]), OK);
    return this.bytesOf(data);
  }

  range(sector: number, sectors: number, flags: number): GuestBuffer {
    const buffer = this.buffer(16, false);
    const at = buffer.address - GUEST_ADDRESS;
    const view = new DataView(this.bytes.buffer, this.bytes.byteOffset + at, 16);
    view.setBigUint64(0, BigInt(sector), true);
    view.setUint32(8, sectors, true);
    view.setUint32(12, flags, true);
    return buffer;
  }
}
