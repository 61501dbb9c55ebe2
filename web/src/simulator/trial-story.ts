/** From the lines of a trial to what the cluster was like at any moment of it. */

export interface StoryLine {
  readonly timeMs: number;
  readonly who: string;
  readonly what: string;
}

export interface FaultSpan {
  readonly what: string;
  readonly fromMs: number;
  /** Infinity for what is never put right by itself. */
  readonly toMs: number;
}

export interface HostMoment {
  readonly name: string;
  readonly state: "up" | "starting" | "off";
  /** What it orders the writes of. */
  readonly owns: readonly string[];
  readonly hasLease: boolean;
}

export interface Moment {
  readonly hosts: readonly HostMoment[];
  readonly isDirectoryUp: boolean;
  readonly faults: readonly string[];
  readonly answered: number;
}

export function parseLine(line: string): StoryLine | undefined {
  const match = /^\s*(\d+\.\d+)\s+(\S+)\s+(.*)$/s.exec(line);
  if (match === null) return undefined;
  return { timeMs: Number(match[1]) * 1000, who: match[2] ?? "", what: match[3] ?? "" };
}

export function faultSpans(lines: readonly StoryLine[], endMs: number): readonly FaultSpan[] {
  const spans: FaultSpan[] = [];
  const open: { what: string; fromMs: number }[] = [];
  for (const { timeMs, who, what } of lines) {
    if (who !== "fault") continue;
    const ended = /^ends: (.*)$/s.exec(what)?.[1];
    if (ended === undefined) {
      open.push({ what, fromMs: timeMs });
      continue;
    }
    const index = open.findIndex((one) => one.what === ended);
    const [begun] = index < 0 ? [] : open.splice(index, 1);
    if (begun !== undefined) spans.push({ ...begun, toMs: timeMs });
  }
  const rest = open.map((one) => ({ ...one, toMs: endMs }));
  return [...spans, ...rest].toSorted((a, b) => a.fromMs - b.fromMs);
}

interface HostState {
  state: HostMoment["state"];
  hasLease: boolean;
}

export function momentAt(
  lines: readonly StoryLine[],
  spans: readonly FaultSpan[],
  timeMs: number,
): Moment {
  const hosts = new Map<string, HostState>();
  const owners = new Map<string, string>();
  let isDirectoryUp = false;
  let answered = 0;
  for (const line of lines) {
    if (line.timeMs > timeMs) break;
    const { who, what } = line;
    if (who === "directory") isDirectoryUp = what === "is up";
    else if (who.startsWith("host")) {
      const host = hosts.get(who) ?? { state: "off", hasLease: false };
      hosts.set(who, host);
      changeHost(host, owners, who, what);
    } else if (/: done/.test(what)) answered++;
  }
  return {
    hosts: [...hosts]
      .map(([name, host]) => ({
        name,
        ...host,
        owns: [...owners].filter(([, owner]) => owner === name).map(([object]) => object),
      }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    isDirectoryUp,
    faults: spans
      .filter((one) => one.fromMs <= timeMs && timeMs < one.toMs)
      .map(({ what }) => what),
    answered,
  };
}

function changeHost(host: HostState, owners: Map<string, string>, who: string, what: string): void {
  const owned = /^owns (\S+) at epoch/.exec(what)?.[1];
  const left = /^stops serving ([^\s:]+)/.exec(what)?.[1];
  if (what === "starts") host.state = "starting";
  else if (what === "is up") host.state = "up";
  else if (what === "lost power" || what === "was killed" || what.startsWith("does not start")) {
    host.state = "off";
    host.hasLease = false;
    for (const [object, owner] of owners) if (owner === who) owners.delete(object);
  } else if (what.startsWith("event lease-held")) host.hasLease = true;
  else if (what.startsWith("event lease-lost")) host.hasLease = false;
  else if (owned !== undefined) owners.set(owned, who);
  else if (left !== undefined && owners.get(left) === who) owners.delete(left);
}
