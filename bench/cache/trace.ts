/**
 * Traces: files of 64-bit little-endian identifiers, one per access, gzipped or not; or generated
 * ones, so that the simulator has something to say without any file.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import * as zlib from "node:zlib";
import { Prng } from "../../src/base/index.ts";

export interface Trace {
  readonly name: string;
  /** Keys renumbered from 0 in the order of their first use. */
  readonly keys: Uint32Array;
  readonly uniqueCount: number;
}

const BYTES_PER_ACCESS = 8;
const ACCESSES_MAX = 2 ** 30;
const SYNTHETIC_PREFIX = "synthetic:";
const SYNTHETIC_ACCESSES = 300_000;

/** A file, or one of the generated traces as `synthetic:NAME`. */
export function openTrace(name: string): Trace {
  if (!name.startsWith(SYNTHETIC_PREFIX)) return readTrace(name);
  const generate = SYNTHETIC.get(name.slice(SYNTHETIC_PREFIX.length));
  if (generate === undefined) {
    throw new Error(`no trace ${name}; there are ${syntheticNames().join(", ")}`);
  }
  return renumbered(name, generate(new Prng(7)));
}

export function syntheticNames(): string[] {
  return [...SYNTHETIC.keys()].map((name) => SYNTHETIC_PREFIX + name);
}

function readTrace(file: string): Trace {
  let bytes: Buffer = fs.readFileSync(file);
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
  if (isGzip) bytes = zlib.gunzipSync(bytes);
  const count = bytes.length / BYTES_PER_ACCESS;
  if (count === 0 || !Number.isInteger(count) || count > ACCESSES_MAX) {
    throw new Error(`${file}: ${bytes.length} bytes are not a trace of 64-bit identifiers`);
  }
  const words = new BigUint64Array(count);
  new Uint8Array(words.buffer).set(bytes);
  return renumbered(path.basename(file).replace(/(\.bin)?(\.gz)?$/, ""), words);
}

function renumbered(name: string, identifiers: ArrayLike<number> | BigUint64Array): Trace {
  const numbers = new Map<number | bigint, number>();
  const keys = new Uint32Array(identifiers.length);
  for (let i = 0; i < keys.length; i++) {
    const identifier = identifiers[i]!;
    let number = numbers.get(identifier);
    if (number === undefined) {
      number = numbers.size;
      numbers.set(identifier, number);
    }
    keys[i] = number;
  }
  return { name, keys, uniqueCount: numbers.size };
}

type Generator = (prng: Prng) => number[];

/** Draws 0 to count - 1 with a probability that falls with the power `skew` of the rank. */
function zipf(prng: Prng, count: number, skew: number): () => number {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    sum += (i + 1) ** -skew;
    sums[i] = sum;
  }
  return () => {
    const drawn = (prng.u32() / 2 ** 32) * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! < drawn) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

const SYNTHETIC: ReadonlyMap<string, Generator> = new Map<string, Generator>([
  ["zipf", (prng) => generate(zipf(prng, 20_000, 0.8))],
  ["bursts", (prng) => generate(bursts(prng, 8))],
  ["scans", (prng) => generate(withScans(prng, zipf(prng, 20_000, 0.9)))],
  ["loop", () => generate(loop(10_000))],
  ["drift", (prng) => generate(drift(zipf(prng, 5_000, 0.7)))],
]);

function generate(next: () => number): number[] {
  return Array.from({ length: SYNTHETIC_ACCESSES }, next);
}

function loop(length: number): () => number {
  let at = 0;
  return () => at++ % length;
}

/**
 * Several streams take turns; each touches a key up to twelve times before it goes on to another.
 */
function bursts(prng: Prng, streamCount: number): () => number {
  const draw = zipf(prng, 20_000, 0.8);
  const keys = Array.from({ length: streamCount }, draw);
  const left = Array.from({ length: streamCount }, () => prng.between(1, 12));
  return () => {
    const stream = prng.below(streamCount);
    if (left[stream]!-- === 0) {
      keys[stream] = draw();
      left[stream] = prng.below(12);
    }
    return keys[stream]!;
  };
}

/** Now and then a run of keys that are touched three times each and never again. */
function withScans(prng: Prng, draw: () => number): () => number {
  let scanned = 1_000_000;
  let left = 0;
  return () => {
    if (left === 0 && prng.chance(0.0002)) left = 6000;
    if (left === 0) return draw();
    left--;
    if (left % 3 === 0) scanned++;
    return scanned;
  };
}

/** What is popular moves on: the same skew over a range that slides. */
function drift(draw: () => number): () => number {
  let accesses = 0;
  return () => draw() + (accesses++ >> 4);
}
