/** Random conversations of a client, valid or bent, made from a seed. */
import type { Prng } from "../../src/base/index.ts";
import { clientFlags, contextData, infoData, option, request } from "./client-bytes.ts";
import type { RequestFields } from "./client-bytes.ts";

const MIB = 1 << 20;
const READ = 0;
const WRITE = 1;
const FLUSH = 3;
const COMMANDS = [READ, READ, READ, WRITE, WRITE, WRITE, FLUSH, 4, 5, 6, 7] as const;
const FLAGS: Readonly<Record<number, readonly number[]>> = {
  0: [0, 4],
  1: [0, 1],
  3: [0],
  4: [0, 1],
  5: [0],
  6: [0, 1, 2, 16, 19],
  7: [0, 8],
};

/** A negotiation that ends in the transmission phase, one option per element. */
export function negotiation(prng: Prng): Buffer[] {
  const parts = [clientFlags(prng.pick([1, 3]))];
  if (prng.chance(0.2)) parts.push(option(3));
  if (prng.chance(0.8)) {
    parts.push(option(8));
    if (prng.chance(0.3)) parts.push(option(9, contextData("v1", [])));
    parts.push(option(10, contextData("v1", ["base:allocation", "x:y"])));
  }
  if (prng.chance(0.3)) parts.push(option(5), option(11));
  if (prng.chance(0.3)) parts.push(option(6, infoData("v1", [0, 1, 2, 3])));
  parts.push(prng.chance(0.2) ? option(1, Buffer.from("v1")) : option(7, infoData("v1", [3])));
  return parts;
}

export function randomRequests(prng: Prng, count: number, sizeBytes: number): RequestFields[] {
  return Array.from({ length: count }, (_, cookie) => randomRequest(prng, cookie, sizeBytes));
}

function randomRequest(prng: Prng, cookie: number, sizeBytes: number): RequestFields {
  const command = prng.pick(COMMANDS);
  const flags = prng.pick(FLAGS[command]!);
  if (command === FLUSH) return { command, flags, cookie };
  const lengthMax = prng.pick([512, 4096, 65_536, 400_000, prng.chance(0.1) ? 3 * MIB : 8192]);
  let length = prng.between(1, Math.ceil(lengthMax / 512)) * 512;
  let offset = prng.below(sizeBytes / 512) * 512;
  if (prng.chance(0.9)) length = Math.min(length, sizeBytes - offset);
  if (prng.chance(0.05)) length += prng.below(512);
  if (prng.chance(0.05)) offset += prng.below(512);
  if (command !== WRITE) return { command, flags, cookie, offset, length };
  const payload = Buffer.alloc(length, prng.chance(0.3) ? 0 : cookie + 1);
  return { command, flags, cookie, offset, payload };
}

/** The same bytes in pieces: at every byte, at headers, or wherever chance has it. */
export function split(bytes: Buffer, prng: Prng): Buffer[] {
  const sizeMax = prng.pick([1, 7, 29, 600, 5000, 70_000]);
  // Single bytes for a while only: a payload of a megabyte would take its time.
  const smallBytes = 3000;
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = prng.between(1, at < smallBytes ? sizeMax : Math.max(sizeMax, 4000));
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

/** Breaks a conversation, one to four times. */
export function bend(parts: readonly Buffer[], prng: Prng): Buffer {
  const bent = parts.map((part) => Buffer.from(part));
  for (let times = prng.between(1, 4); times > 0; times--) prng.pick(bendings)(bent, prng);
  return Buffer.concat(bent);
}

type Bending = (parts: Buffer[], prng: Prng) => void;

const EXTREMES = [0xffffffff, 0x80000000, 0x7fffffff, 0, 1, 0xfffffe00, 4097, 65_537] as const;

const bendings: readonly Bending[] = [
  (parts, prng) => {
    const part = prng.pick(parts);
    if (part.length > 0) part[prng.below(part.length)] = prng.below(256);
  },
  // Length fields lie at multiples of four or after a name.
  (parts, prng) => {
    const part = prng.pick(parts);
    const at = prng.chance(0.7) ? 4 * prng.below(8) : prng.below(64);
    if (at + 4 <= part.length) part.writeUInt32BE(prng.pick(EXTREMES), at);
  },
  (parts, prng) => {
    parts.splice(prng.below(parts.length), 1, Buffer.alloc(0));
  },
  (parts, prng) => {
    const index = prng.below(parts.length);
    parts.splice(index, 0, parts[prng.below(parts.length)]!);
  },
  (parts, prng) => {
    const index = prng.below(parts.length);
    parts[index] = parts[index]!.subarray(0, prng.below(parts[index]!.length + 1));
  },
  (parts, prng) => {
    const noise = Buffer.alloc(prng.between(1, 40));
    prng.fill(noise);
    parts.splice(prng.below(parts.length), 0, noise);
  },
];

export function requestParts(requests: readonly RequestFields[]): Buffer[] {
  return requests.map(request);
}
