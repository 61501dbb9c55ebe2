/** Counters of several devices as one. */
export function numbersOf(values: object): Record<string, number> {
  const numbers: Record<string, number> = {};
  for (const [name, value] of Object.entries(values) as [string, unknown][]) {
    if (typeof value === "number") numbers[name] = value;
  }
  return numbers;
}

export function addUp(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const values of all) {
    for (const [name, value] of Object.entries(values)) total[name] = (total[name] ?? 0) + value;
  }
  return total;
}
