/**
 * Which machines are to be placed now, and where (US9495259B2): from what is wanted, what lives,
 * what each host reaches and has room for. Three lists come of it: those that can be started at
 * once, in the order of their priorities; those that wait until some host reaches all their
 * objects, and those that wait for room, or for others of a higher priority. Waiting uses no
 * attempt up: only starts that fail count, and put the next one off.
 *
 * The lists are made anew from the records at every decision, so a master that takes over in the
 * middle has the same ones.
 */
import { formatSize } from "../base/index.ts";
import { isProtected } from "../cluster/index.ts";
import type { StoredVm, VmRecord } from "../cluster/index.ts";
import type { HostViews } from "./host-views.ts";
import { DOES_NOT_MOVE, isUnderWay } from "./vm-migration.ts";

/** Machines that are being started on one host at a time. */
const STARTS_MAX = 8;
/** Those of a lower priority wait so long for one that is being started. */
const PRIORITY_MS_MAX = 20_000;
/** After as many failed starts in a row: how long the next one waits, and the last of them on. */
const BACK_OFF_MS: readonly number[] = [0, 0, 0, 2000, 10_000, 30_000, 60_000, 120_000, 300_000];
/** Virtual processors for each of a host. */
const CPU_OVERCOMMIT = 8;
/** Machines that leave one host at a time, and how long one that failed to is left in peace. */
const MOVES_MAX = 2;
const MOVE_AGAIN_MS = 60_000;
/** Failed starts in a row after which somebody has to look at it. */
export const FAILURES_MAX = 12;

export interface PlanInput {
  readonly vms: readonly StoredVm[];
  /** Hosts that look after machines. */
  readonly alive: readonly string[];
  readonly views: Pick<HostViews, "whyNot" | "capacityOf" | "heardBy">;
  /** Hosts that are being taken out of service: nothing is started there. */
  readonly closed: ReadonlySet<string>;
  /** By the wall clock, as records have it. */
  readonly wallMs: number;
  readonly nameOf: (hostId: string) => string;
  /** False: nothing is started elsewhere because of a host that has failed. */
  readonly isArmed: boolean;
  /** Hosts that may run machines on without their leases, as they have said. */
  readonly unbound?: ReadonlySet<string>;
  /** Hosts that are no longer of the cluster: whoever removes one says that it is off. */
  readonly removed?: ReadonlySet<string>;
}

export interface Start {
  readonly stored: StoredVm;
  readonly hostId: string;
  readonly because: string;
}

export interface Wait {
  readonly stored: StoredVm;
  /** "objects": no host reaches all of them. "room": no host has enough. "turn": for others.
   * "host": its own may run it on. */
  readonly for: "objects" | "room" | "turn" | "back-off" | "help" | "host";
  readonly because: string;
  /** What it needs, and what is left of that: of one that waits for room. */
  readonly lack?: string;
}

export interface Plan {
  readonly starts: readonly Start[];
  readonly waits: readonly Wait[];
  /** Running machines that are to leave hosts which are being taken out of service. */
  readonly moves: readonly Start[];
}

interface Room {
  memoryBytes: number;
  cpuCount: number;
  starting: number;
  readonly groups: Map<string, number>;
}

export function planRestarts(input: PlanInput): Plan {
  const rooms = roomsOf(input);
  const starts: Start[] = [];
  const waits: Wait[] = [];
  const wanted = input.vms
    .map((stored) => ({ stored, why: whyToPlace(stored.record, input) }))
    .filter((one): one is { stored: StoredVm; why: string } => one.why !== undefined)
    .toSorted((a, b) => byPriority(a.stored.record, b.stored.record));
  for (const { stored, why } of wanted) {
    const wait = whyHeld(stored, why, input) ?? whyToWait(stored, why, rooms, input);
    if (wait !== undefined) {
      waits.push(wait);
      continue;
    }
    const ahead = aheadOf(stored.record, input, starts);
    if (ahead !== undefined) {
      waits.push({ stored, for: "turn", because: `${why}; ${ahead}` });
      continue;
    }
    const { hostId, because } = bestHost(stored.record, rooms, input);
    starts.push({ stored, hostId, because: `${why}; ${because}` });
    take(rooms.get(hostId)!, stored.record, true);
  }
  return { starts, waits, moves: movesOf(rooms, input) };
}

/** Where machines could go that run, and would have to be ended for that. */
export class Places {
  readonly #rooms: ReadonlyMap<string, Room>;
  readonly #input: PlanInput;

  /**
   * Beside what the plan starts and moves, and what has left its host or is to and has no other.
   */
  constructor(input: PlanInput, { starts, moves, waits }: Plan) {
    this.#input = input;
    this.#rooms = roomsOf(input);
    for (const { stored, hostId } of [...starts, ...moves])
      take(this.#rooms.get(hostId)!, stored.record, false);
    for (const { stored, for: what } of waits)
      if (what === "turn" || what === "back-off") this.reserve(stored.record);
    for (const { record } of input.vms) {
      const { isLeaving, desired, hostId } = record;
      const isOnItsWay = isLeaving && desired === "running";
      if (isOnItsWay && hostId !== undefined && input.alive.includes(hostId)) this.reserve(record);
    }
  }

  /** Another host that reaches its objects and has room for it, which is its from now on. */
  reserve(record: VmRecord): string | undefined {
    const { views } = this.#input;
    const fitting = [...this.#rooms].filter(
      ([hostId, room]) =>
        hostId !== record.hostId &&
        views.whyNot(hostId, record.name) === undefined &&
        fits(room, record),
    );
    const [best] = fitting.toSorted(([, x], [, y]) => y.memoryBytes - x.memoryBytes);
    if (best === undefined) return undefined;
    take(best[1], record, false);
    return best[0];
  }
}

/** One that no other host can run stays, and runs on. */
function movesOf(rooms: ReadonlyMap<string, Room>, input: PlanInput): Start[] {
  const { vms, closed, wallMs, isArmed } = input;
  if (!isArmed) return [];
  const moves: Start[] = [];
  const leaving = new Map<string, number>();
  for (const { record } of vms)
    if (isUnderWay(record)) leaving.set(record.hostId!, (leaving.get(record.hostId!) ?? 0) + 1);
  for (const stored of vms.toSorted((a, b) => byPriority(a.record, b.record))) {
    const { record } = stored;
    const { hostId, desired, isLeaving, history } = record;
    if (hostId === undefined || !closed.has(hostId) || desired !== "running") continue;
    if (isLeaving || isStarting(record) || isUnderWay(record)) continue;
    const failedMs = history.findLast(({ what }) => what === DOES_NOT_MOVE)?.timeMs;
    if (failedMs !== undefined && Math.abs(wallMs - failedMs) < MOVE_AGAIN_MS) continue;
    const count = leaving.get(hostId) ?? 0;
    const why = "its host is in maintenance";
    if (count >= MOVES_MAX || whyToWait(stored, why, rooms, input) !== undefined) continue;
    const { hostId: to, because } = bestHost(record, rooms, input);
    moves.push({ stored, hostId: to, because: `${why}; ${because}` });
    leaving.set(hostId, count + 1);
    take(rooms.get(to)!, record, false);
  }
  return moves;
}

function byPriority(a: VmRecord, b: VmRecord): number {
  return a.priority - b.priority || (a.name < b.name ? -1 : 1);
}

function whyToPlace(record: VmRecord, input: PlanInput): string | undefined {
  const { alive, nameOf, isArmed } = input;
  if (record.desired !== "running") return undefined;
  if (record.hostId === undefined) return "it should run and has no host";
  if (alive.includes(record.hostId)) return undefined;
  if (input.removed?.has(record.hostId) === true)
    return `host ${nameOf(record.hostId)} was removed from the cluster`;
  if (!isArmed || !isProtected(record)) return undefined;
  const heartbeat = heartbeatOf(record.hostId, input);
  return `the lease of host ${nameOf(record.hostId)} has ended, ${heartbeat}`;
}

/** Its host has not been heard since high availability was armed, and goes by what was before. */
function whyHeld(stored: StoredVm, why: string, { unbound, nameOf }: PlanInput): Wait | undefined {
  const { name, hostId } = stored.record;
  if (hostId === undefined || unbound?.has(hostId) !== true) return undefined;
  const host = nameOf(hostId);
  const because =
    `${why}; ${host} has not said that it knows that high availability is armed, and may run it ` +
    `on: bring ${host} back, or make sure that it is off and run drystone vm kill ${name}`;
  return { stored, for: "host", because };
}

/** What tells a host that has failed from one that is only isolated. */
function heartbeatOf(hostId: string, { views, alive, nameOf }: PlanInput): string {
  const hearing = views.heardBy(hostId).filter((other) => alive.includes(other));
  const by = hearing.map(nameOf).join(", ");
  return hearing.length === 0
    ? "and nobody hears it in storage: it has failed, or is cut off on both networks"
    : `and ${by} heard it in storage last: it is isolated from the directory`;
}

/** What is left on each host, with what runs there and what is on its way there. */
function roomsOf({ vms, alive, views, closed }: PlanInput): Map<string, Room> {
  const rooms = new Map<string, Room>();
  for (const hostId of alive) {
    if (closed.has(hostId)) continue;
    const { memoryBytes, cpuCount } = views.capacityOf(hostId);
    const groups = new Map<string, number>();
    rooms.set(hostId, { memoryBytes, cpuCount: cpuCount * CPU_OVERCOMMIT, starting: 0, groups });
  }
  for (const { record } of vms) {
    const room = record.hostId === undefined ? undefined : rooms.get(record.hostId);
    if (room !== undefined) take(room, record, isStarting(record));
    const target = isUnderWay(record) ? rooms.get(record.migration!.to) : undefined;
    if (target !== undefined) take(target, record, false);
  }
  return rooms;
}

function take(room: Room, record: VmRecord, isBeingStarted: boolean): void {
  room.memoryBytes -= record.memoryBytes;
  room.cpuCount -= record.cpuCount;
  if (isBeingStarted) room.starting++;
  const { antiAffinity: group } = record;
  if (group !== undefined) room.groups.set(group, (room.groups.get(group) ?? 0) + 1);
}

function isStarting({ desired, hostId, epoch, startedEpoch }: VmRecord): boolean {
  return desired === "running" && hostId !== undefined && epoch !== startedEpoch;
}

function fits(room: Room, { memoryBytes, cpuCount }: VmRecord): boolean {
  return room.memoryBytes >= memoryBytes && room.cpuCount >= cpuCount;
}

/** Undefined if it can be placed as far as it alone is concerned. */
function whyToWait(
  stored: StoredVm,
  why: string,
  rooms: ReadonlyMap<string, Room>,
  { views, nameOf, wallMs, closed }: PlanInput,
): Wait | undefined {
  const { record } = stored;
  const { name, failureCount, lastFailureMs } = record;
  const hosts = [...rooms].filter(([hostId]) => hostId !== record.hostId);
  const reaching = hosts.filter(([hostId]) => views.whyNot(hostId, name) === undefined);
  if (reaching.length === 0) {
    const reasons = hosts.map(([hostId]) => `${nameOf(hostId)}: ${views.whyNot(hostId, name)}`);
    for (const hostId of closed) reasons.push(`${nameOf(hostId)}: it is in maintenance`);
    const all = reasons.length === 0 ? "none lives" : reasons.join("; ");
    const because = `${why}; no host can run it (${all})`;
    return { stored, for: "objects", because };
  }
  if (!reaching.some(([, room]) => fits(room, record))) {
    const left = reaching.map(([hostId, room]) => `${nameOf(hostId)} ${leftIn(room)}`);
    const needs = `${formatSize(record.memoryBytes)} of memory and ${record.cpuCount} processors`;
    const lack = `it needs ${needs}, and there is left: ${left.join("; ")}`;
    return { stored, for: "room", because: `${why}; ${lack}`, lack };
  }
  if (failureCount >= FAILURES_MAX) {
    const because = `${why}; it has failed to start ${failureCount} times in a row`;
    return { stored, for: "help", because };
  }
  const backOffMs = BACK_OFF_MS[Math.min(failureCount, BACK_OFF_MS.length - 1)]!;
  if (wallMs - lastFailureMs < backOffMs && wallMs >= lastFailureMs) {
    const because = `${why}; start ${failureCount} in a row has failed, the next one waits`;
    return { stored, for: "back-off", because };
  }
  if (reaching.some(([, room]) => fits(room, record) && room.starting < STARTS_MAX))
    return undefined;
  return { stored, for: "turn", because: `${why}; each host is starting ${STARTS_MAX} machines` };
}

function leftIn({ memoryBytes, cpuCount }: Room): string {
  return `${formatSize(Math.max(0, memoryBytes))} and ${Math.max(0, cpuCount)}`;
}

/** Whoever is being started and comes before it, unless that takes too long. */
function aheadOf(
  record: VmRecord,
  { vms, wallMs }: PlanInput,
  starts: readonly Start[],
): string | undefined {
  const isAhead = (other: VmRecord): boolean => other.priority < record.priority;
  const now = starts.find(({ stored }) => isAhead(stored.record));
  if (now !== undefined) return `${now.stored.record.name} comes first`;
  const before = vms.find(({ record: other }) => {
    if (!isAhead(other) || !isStarting(other)) return false;
    const placedMs =
      other.history.findLast(({ what }) => what.startsWith("placed on"))?.timeMs ?? 0;
    return Math.abs(wallMs - placedMs) < PRIORITY_MS_MAX;
  });
  return before === undefined ? undefined : `${before.record.name} comes first`;
}

/**
 * Where it has not failed lately, apart from those that it is to be kept away from, and where the
 * most memory is left.
 */
function bestHost(
  record: VmRecord,
  rooms: ReadonlyMap<string, Room>,
  { views, wallMs }: PlanInput,
): { readonly hostId: string; readonly because: string } {
  const others = [...rooms].filter(([hostId]) => hostId !== record.hostId);
  const reaching = others.filter(([hostId]) => views.whyNot(hostId, record.name) === undefined);
  const failedMs = failuresOf(record, wallMs);
  const group = record.antiAffinity;
  const [best] = reaching
    .filter(([, room]) => fits(room, record) && room.starting < STARTS_MAX)
    .toSorted(([a, x], [b, y]) => {
      const apart =
        group === undefined ? 0 : (x.groups.get(group) ?? 0) - (y.groups.get(group) ?? 0);
      const failed = (failedMs.get(a) ?? 0) - (failedMs.get(b) ?? 0);
      return failed || apart || y.memoryBytes - x.memoryBytes || (a < b ? -1 : 1);
    });
  const [hostId, room] = best!;
  const beside = group === undefined ? 0 : (room.groups.get(group) ?? 0);
  const of = `of ${reaching.length} hosts that reach its objects, of ${others.length} alive,`;
  const apart = beside > 0 ? `, beside others of ${group}, for want of another host` : "";
  return { hostId, because: `${of} this one has the most room${apart}` };
}

/** By host: when it last did not start there. */
function failuresOf({ history, failureCount }: VmRecord, wallMs: number): Map<string, number> {
  if (failureCount === 0) return new Map();
  const isRecent = (timeMs: number): boolean => Math.abs(wallMs - timeMs) < 600_000;
  const failures = history.filter(
    ({ what, timeMs }) => what === DOES_NOT_START && isRecent(timeMs),
  );
  return new Map(failures.map(({ hostId, timeMs }) => [hostId, timeMs]));
}

/** In a machine's history, by the host that tried. */
export const DOES_NOT_START = "does not start here";
