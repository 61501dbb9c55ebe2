/** Sizes as people write them: `10G` is 10 GiB, as qemu-img has it. */
const UNITS = ["", "K", "M", "G", "T", "P"] as const;

/** Bytes, or undefined if the text is not a size. Accepts `4096`, `10G`, `1.5T`, `512MiB`. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?$/i.exec(text.trim());
  if (match === null) return undefined;
  const power = UNITS.findIndex((unit) => unit === match[2]!.toUpperCase());
  const bytes = Number(match[1]) * 1024 ** power;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** `1.5 GiB`; exact multiples without a fraction. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let power = 0;
  while (value >= 1024 && power < UNITS.length - 1) {
    value /= 1024;
    power++;
  }
  const digits = Number.isInteger(value) || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${power === 0 ? "B" : `${UNITS[power]}iB`}`;
}
