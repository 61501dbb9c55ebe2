/**
 * What a machine prints, kept in a file that its process appends to. The file is cut from time to
 * time, and a small one beside it tells how much came before, so that places in the output stay
 * what they are.
 */
import * as fs from "node:fs";

const KEPT_BYTES = 4 * 2 ** 20;
const TRIM_BYTES = 2 * KEPT_BYTES;

export interface ConsoleText {
  /** Bytes of output before the text: more than was asked for if that is no longer kept. */
  readonly from: number;
  /** Where what comes next begins. */
  readonly next: number;
  readonly text: string;
}

export class ConsoleLog {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** `from` undefined: the last `bytesMax`. */
  read(from: number | undefined, bytesMax: number): ConsoleText {
    const base = this.#base();
    const file = openIfThere(this.#path);
    if (file === undefined) return { from: base, next: base, text: "" };
    try {
      const end = base + fs.fstatSync(file).size;
      const start = Math.min(end, Math.max(base, from ?? end - bytesMax));
      const bytes = Buffer.alloc(Math.min(bytesMax, end - start));
      const got = fs.readSync(file, bytes, 0, bytes.length, start - base);
      const whole = wholeCharacters(bytes.subarray(0, got));
      return { from: start, next: start + whole.length, text: whole.toString() };
    } finally {
      fs.closeSync(file);
    }
  }

  /** A new start prints from 0 on; what the one before printed is kept once, as `.old`. */
  startAnew(): void {
    if (fs.existsSync(this.#path)) fs.renameSync(this.#path, `${this.#path}.old`);
    fs.rmSync(this.#basePath, { force: true });
  }

  /** What is printed in the very moment of a cut may be lost. */
  trim(): void {
    const file = openIfThere(this.#path, "r+");
    if (file === undefined) return;
    try {
      const { size } = fs.fstatSync(file);
      if (size <= TRIM_BYTES) return;
      const kept = Buffer.alloc(KEPT_BYTES);
      fs.readSync(file, kept, 0, KEPT_BYTES, size - KEPT_BYTES);
      fs.writeFileSync(this.#basePath, String(this.#base() + size - KEPT_BYTES), { mode: 0o600 });
      fs.ftruncateSync(file);
      fs.writeSync(file, kept, 0, KEPT_BYTES, 0);
    } finally {
      fs.closeSync(file);
    }
  }

  get #basePath(): string {
    return `${this.#path}.before`;
  }

  #base(): number {
    const file = openIfThere(this.#basePath);
    if (file === undefined) return 0;
    try {
      return Number(fs.readFileSync(file, "utf8"));
    } finally {
      fs.closeSync(file);
    }
  }
}

function openIfThere(path: string, flags = "r"): number | undefined {
  try {
    return fs.openSync(path, flags);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Without the beginning of a character whose rest is still to come. */
function wholeCharacters(bytes: Buffer): Buffer {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if (byte < 0x80) break;
    if (byte < 0xc0) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return length > back ? bytes.subarray(0, bytes.length - back) : bytes;
  }
  return bytes;
}
