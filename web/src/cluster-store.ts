/**
 * What the page knows of the cluster: asked anew every few seconds while somebody looks, and at
 * once when the host tells of an event. A lost stream is followed again where it broke off.
 */
import type { EventView, StatsView, StatusView, VmView, VolumeView } from "../../src/host/index.ts";
import type { ResyncView } from "../../src/host/api/api-routes.ts";
import { call, follow, Refusal, wantsToken } from "./api.ts";
import { byHost, byName } from "../../src/base/natural-order.ts";
import { sampleOf } from "./rates.ts";
import type { Sample } from "./rates.ts";

const ASK_MS = 2000;
const RETRY_MS = 2000;
/** Five minutes of samples. */
const SAMPLES_MAX = 150;
const EVENTS_MAX = 500;
/** Events come in bursts: one question for all of them. */
const BURST_MS = 150;

export interface ClusterState {
  readonly status: StatusView | undefined;
  readonly volumes: readonly VolumeView[];
  readonly vms: readonly VmView[];
  readonly resyncs: readonly ResyncView[];
  /** The newest. */
  readonly stats: StatsView | undefined;
  /** Oldest first. */
  readonly samples: readonly Sample[];
  /** Newest first. */
  readonly events: readonly EventView[];
  /** The stream of events is open. */
  readonly isLive: boolean;
  /** Why the newest question was not answered. */
  readonly refusal: Refusal | undefined;
  readonly nowMs: number;
}

/** The status comes first: what is listed is not known with it, and must not seem empty. */
export function hasLists({ stats }: ClusterState): boolean {
  return stats !== undefined;
}

let state: ClusterState = {
  status: undefined,
  volumes: [],
  vms: [],
  resyncs: [],
  stats: undefined,
  samples: [],
  events: [],
  isLive: false,
  refusal: undefined,
  nowMs: Date.now(),
};

const listeners = new Set<() => void>();

function change(part: Partial<ClusterState>): void {
  state = { ...state, ...part, nowMs: Date.now() };
  for (const listener of listeners) listener();
}

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function snapshot(): ClusterState {
  return state;
}

let asking: Promise<void> | undefined;
let isWantedAgain = false;

/** With a token that was not shown before. */
export async function tryToken(): Promise<void> {
  change({ refusal: undefined });
  await refresh();
}

function isShutOut(): boolean {
  return state.refusal !== undefined && wantsToken(state.refusal);
}

/** Asks for everything; a question that comes while one is under way is asked after it. */
export function refresh(): Promise<void> {
  if (asking !== undefined) {
    isWantedAgain = true;
    return asking;
  }
  asking = ask().finally(() => {
    asking = undefined;
    if (!isWantedAgain) return;
    isWantedAgain = false;
    void refresh();
  });
  return asking;
}

async function ask(): Promise<void> {
  try {
    // Alone, so that a wrong token is shown once.
    const told = await call("status", {});
    const status = { ...told, hosts: byName(told.hosts), devices: byHost(told.devices) };
    // Whoever looks for the first time sees how the cluster is while the rest is on its way.
    if (state.status === undefined) change({ status, refusal: undefined });
    const [{ volumes }, { vms }, stats, { resyncs }] = await Promise.all([
      call("volume.list", {}),
      call("vm.list", {}),
      call("stats", {}),
      call("resync.list", {}),
    ]);
    const sample = sampleOf(stats, performance.now());
    const samples = [...state.samples, sample].slice(-SAMPLES_MAX);
    change({
      status,
      volumes: byName(volumes),
      vms: byName(vms),
      resyncs,
      stats,
      samples,
      refusal: undefined,
    });
  } catch (error) {
    const refusal = error instanceof Refusal ? error : new Refusal("bug", String(error));
    change({ refusal });
  }
}

let burst: number | undefined;

function take(event: EventView): void {
  if (state.events.some(({ sequence }) => sequence === event.sequence)) return;
  change({ events: [event, ...state.events].slice(0, EVENTS_MAX) });
  burst ??= window.setTimeout(() => {
    burst = undefined;
    void refresh();
  }, BURST_MS);
}

async function followOnce(signal: AbortSignal): Promise<void> {
  if (isShutOut()) return;
  try {
    const { events } = await call("events", { limit: 200 });
    change({ events: events.toReversed() });
    const after = events.at(-1)?.sequence ?? 0;
    await follow(after, take, () => change({ isLive: true }), signal);
  } catch (error) {
    if (!(error instanceof Refusal || error instanceof TypeError)) throw error;
  } finally {
    change({ isLive: false });
  }
}

/** Begins to ask and to follow; returns how to stop. */
export function watchCluster(): () => void {
  const stop = new AbortController();
  const tick = window.setInterval(() => {
    // A host that does not know us is not asked again and again.
    if (document.visibilityState === "visible" && !isShutOut()) void refresh();
  }, ASK_MS);
  const onShown = (): void => {
    if (document.visibilityState === "visible" && !isShutOut()) void refresh();
  };
  document.addEventListener("visibilitychange", onShown);
  let retry: number | undefined;
  const again = (): void => {
    if (!stop.signal.aborted) retry = window.setTimeout(keepFollowing, RETRY_MS);
  };
  const keepFollowing = (): void => void followOnce(stop.signal).then(again, again);
  void refresh().then(keepFollowing);
  return () => {
    stop.abort();
    window.clearInterval(tick);
    window.clearTimeout(retry);
    document.removeEventListener("visibilitychange", onShown);
  };
}
