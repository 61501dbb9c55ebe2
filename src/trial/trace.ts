/** The last things that happened in a trial, for people to read when it has failed. */

interface TraceLine {
  readonly timeMs: number;
  readonly who: string;
  readonly what: string;
}

const LINES_MAX = 20_000;

export class Trace {
  readonly #lines: TraceLine[] = [];
  readonly #nowMs: () => number;
  readonly #onLine: ((line: string) => void) | undefined;
  #next = 0;
  #digest = 0;

  constructor(nowMs: () => number, onLine?: (line: string) => void) {
    this.#nowMs = nowMs;
    this.#onLine = onLine;
  }

  add(who: string, what: string): void {
    const line = { timeMs: this.#nowMs(), who, what };
    this.#lines[this.#next % LINES_MAX] = line;
    this.#next++;
    this.#mix(line);
    this.#onLine?.(format(line));
  }

  /** Of everything that was added: two runs that took the same way have the same. */
  get digest(): number {
    return this.#digest >>> 0;
  }

  lines(): string[] {
    const from = this.#next > LINES_MAX ? this.#next % LINES_MAX : 0;
    return [...this.#lines.slice(from), ...this.#lines.slice(0, from)].map(format);
  }

  #mix({ timeMs, who, what }: TraceLine): void {
    let digest = Math.imul(this.#digest ^ Math.floor(timeMs * 1000), 0x9e3779b1);
    for (const text of [who, what])
      for (let i = 0; i < text.length; i++)
        digest = Math.imul(digest ^ text.charCodeAt(i), 0x01000193);
    this.#digest = digest ^ (digest >>> 15);
  }
}

function format({ timeMs, who, what }: TraceLine): string {
  return `${(timeMs / 1000).toFixed(4).padStart(9)}  ${who.padEnd(9)}  ${what}`;
}
