/** A drill as a link: its seed, what its cluster is like, and what is done to it when. */
import { DRILL_ACTIONS, exampleLayout } from "../../../src/trial/index.ts";
import type { DrillAction, DrillLayout } from "../../../src/trial/index.ts";

export interface DrillSpec {
  readonly seed: number;
  readonly lengthMs: number;
  readonly layout: DrillLayout | ExampleSize;
  readonly script: readonly DrillAction[];
}

interface ExampleSize {
  readonly hostCount: number;
  readonly machineCount: number;
}

export const HOSTS_MAX = 16;
export const VOLUMES_MAX = 100;
const LENGTH_MS_MAX = 600_000;
const ACTIONS_MAX = 200;
const PREFIX = "drill ";

export function layoutOf({ layout }: DrillSpec): DrillLayout {
  return "hosts" in layout ? layout : exampleLayout(layout.hostCount, layout.machineCount);
}

/** What stands after "#/simulator/". */
export function nameOfDrill(spec: DrillSpec): string {
  const { seed, lengthMs, layout, script } = spec;
  const text = JSON.stringify({
    ...{ seed, lengthMs, layout },
    script: script.map(({ atMs, kind, host }) => [atMs, kind, host]),
  });
  const bytes = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte));
  return PREFIX + btoa(bytes.join("")).replaceAll("+", "-").replaceAll("/", "_");
}

/** Undefined if it is no drill, or one that cannot be. */
export function readDrill(name: string | undefined): DrillSpec | undefined {
  if (name?.startsWith(PREFIX) !== true) return undefined;
  try {
    const text = atob(name.slice(PREFIX.length).replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    const found: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return checked(found);
  } catch {
    return undefined; // Typed by hand, or cut short on its way.
  }
}

type Raw = Readonly<Record<string, unknown>>;

function checked(found: unknown): DrillSpec | undefined {
  const { seed, lengthMs, layout, script } = found as Raw;
  if (!isCount(seed, 2 ** 32 - 1) || !isCount(lengthMs, LENGTH_MS_MAX)) return undefined;
  const spec = { seed, lengthMs, layout: layout as DrillSpec["layout"], script: [] };
  const hosts = hostCountOf(layout as Raw);
  if (hosts === undefined || !Array.isArray(script) || script.length > ACTIONS_MAX)
    return undefined;
  const actions: DrillAction[] = [];
  for (const [atMs, word, host] of script as readonly Raw[][]) {
    const kind = DRILL_ACTIONS.find((one) => one === (word as unknown));
    if (kind === undefined || !isCount(atMs, LENGTH_MS_MAX) || !isCount(host, hosts - 1))
      return undefined;
    actions.push({ atMs, kind, host });
  }
  return { ...spec, script: actions };
}

/** Undefined if it is no layout. */
function hostCountOf(layout: Raw): number | undefined {
  const { hosts, volumes, machines, hostCount, machineCount } = layout;
  if (hosts === undefined) {
    const isGood = isCount(hostCount, HOSTS_MAX) && hostCount >= 3;
    return isGood && isCount(machineCount, VOLUMES_MAX) ? hostCount : undefined;
  }
  const lists = [hosts, volumes, machines];
  if (!lists.every((list) => Array.isArray(list) && list.length <= VOLUMES_MAX)) return undefined;
  return (hosts as readonly unknown[]).length;
}

function isCount(value: unknown, max: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max;
}
