/**
 * Pictures of pages for the documents: a palette of 128 colours instead of all, a third of the
 * bytes.
 */
import { assert } from "../../src/base/index.ts";
import { crc32, deflateSync, inflateSync } from "node:zlib";

const COLOURS_MAX = 128;
const SIGNATURE = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);

/** Takes what Chromium makes: 8 bits for each of RGB or RGBA, not interlaced. */
export function smallPicture(png: Buffer): Buffer {
  const { width, height, channels, pixels } = decode(png);
  const counts = new Map<number, number>();
  for (let at = 0; at < pixels.length; at += channels) {
    const key = coarse(pixels, at);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const palette = [...counts].toSorted((a, b) => b[1] - a[1]).slice(0, COLOURS_MAX);
  const colours = palette.map(([key]) => key);
  const indexOf = new Map<number, number>();
  const lines = Buffer.alloc(height * (width + 1)); // Each line begins with its filter: none.
  for (let at = 0, pixel = 0; at < pixels.length; at += channels, pixel++) {
    const key = coarse(pixels, at);
    let index = indexOf.get(key);
    if (index === undefined) indexOf.set(key, (index = nearestOf(colours, key)));
    lines[pixel + Math.floor(pixel / width) + 1] = index;
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const table = Buffer.from(colours.flatMap((key) => parts(key)));
  return Buffer.concat([
    SIGNATURE,
    chunk("IHDR", header),
    chunk("PLTE", table),
    chunk("IDAT", deflateSync(lines, { level: 9, memLevel: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** Grounds differ by little, so all but the lowest bit is kept. */
function coarse(pixels: Uint8Array, at: number): number {
  const [red = 0, green = 0, blue = 0] = pixels.subarray(at, at + 3);
  return ((red & 0xfe) << 16) | ((green & 0xfe) << 8) | (blue & 0xfe);
}

function parts(key: number): [number, number, number] {
  return [key >> 16, (key >> 8) & 255, key & 255].map((one) => (one === 254 ? 255 : one)) as [
    number,
    number,
    number,
  ];
}

function nearestOf(colours: readonly number[], key: number): number {
  const [red, green, blue] = parts(key);
  let best = 0;
  let least = Infinity;
  for (const [index, colour] of colours.entries()) {
    const [r, g, b] = parts(colour);
    const distance = (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2;
    if (distance < least) [best, least] = [index, distance];
  }
  return best;
}

interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly pixels: Uint8Array;
}

function decode(png: Buffer): Picture {
  assert(png.subarray(0, 8).equals(SIGNATURE), "no PNG");
  const data: Buffer[] = [];
  for (let at = 8; at < png.length;) {
    const size = png.readUInt32BE(at);
    if (png.toString("latin1", at + 4, at + 8) === "IDAT")
      data.push(png.subarray(at + 8, at + 8 + size));
    at += 12 + size;
  }
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  assert(png[24] === 8 && (png[25] === 2 || png[25] === 6) && png[28] === 0, "another kind of PNG");
  const channels = png[25] === 2 ? 3 : 4;
  const raw = inflateSync(Buffer.concat(data));
  return { width, height, channels, pixels: unfiltered(raw, height, width * channels, channels) };
}

function unfiltered(raw: Buffer, height: number, size: number, step: number): Uint8Array {
  const pixels = new Uint8Array(height * size);
  for (let row = 0; row < height; row++) {
    const filter = raw[row * (size + 1)]!;
    const from = row * (size + 1) + 1;
    const to = row * size;
    for (let x = 0; x < size; x++) {
      const left = x < step ? 0 : pixels[to + x - step]!;
      const up = row === 0 ? 0 : pixels[to + x - size]!;
      const corner = x < step || row === 0 ? 0 : pixels[to + x - size - step]!;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter]!;
      pixels[to + x] = raw[from + x]! + guess;
    }
  }
  return pixels;
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

function chunk(kind: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(data.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([size, body, sum]);
}
