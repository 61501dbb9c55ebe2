/** Numbers and times as people read them. */
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

export function bytes(value: number): string {
  let unit = 0;
  let shown = value;
  while (shown >= 1024 && unit < UNITS.length - 1) {
    shown /= 1024;
    unit++;
  }
  return `${digits(shown)} ${UNITS[unit] ?? ""}`;
}

/** Three significant digits at most: 1.25, 12.5, 125. */
export function digits(value: number): string {
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function milliseconds(value: number): string {
  return value < 1 ? `${digits(value * 1000)} µs` : `${digits(value)} ms`;
}

export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

export function ago(timeMs: number, nowMs: number): string {
  const passed = nowMs - timeMs;
  return passed < 2000 ? "just now" : `${duration(passed)} ago`;
}

export function clockTime(timeMs: number): string {
  return new Date(timeMs).toLocaleString(undefined, {
    dateStyle: "medium",
    timeStyle: "medium",
  });
}

export function shortId(id: string): string {
  return id.slice(0, 8);
}

export function plural(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** "10G" as bytes, as the command line reads it; undefined if it is no size. */
export function parseSize(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?\s*$/i.exec(text);
  if (match === null) return undefined;
  const power = ["", "K", "M", "G", "T", "P"].indexOf((match[2] ?? "").toUpperCase());
  const value = Number(match[1]) * 1024 ** power;
  return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}
