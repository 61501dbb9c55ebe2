/**
 * When each check of health was raised and cleared: told as events, so that the history survives
 * restarts. It looks after events, which is when something changed, and once a minute for what
 * changes without one.
 */
import { CodedError } from "../../base/index.ts";
import type { Clock, Timer } from "../../ports/index.ts";
import type { EventRing } from "../api/event-ring.ts";
import type { RaisedCheck } from "./health.ts";
import { healthChecks, judgeHealth } from "./health.ts";
import { nearest } from "../nearest.ts";
import type { EventView, HealthChangeView, HealthCheckView, HealthListView } from "../api/views.ts";
import type { HealthShowView } from "../api/views.ts";

const LOOK_MS = 60_000;
/** Events come in bursts. */
const SETTLE_MS = 2000;
const RAISED = "health-raised";
const CLEARED = "health-cleared";
/**
 * So many findings of a check at once are an event each. Of more one event tells: a host with a
 * thousand volumes that fails and comes back would drive everything else out of the history.
 */
const EACH_MAX = 10;
/** Subjects of one event. */
const TOGETHER_MAX = 200;
/** No subject has it. */
const BETWEEN = "\n";

export interface HealthWatchWorld {
  readonly events: EventRing;
  readonly clock: Clock;
  readonly look: () => Promise<readonly RaisedCheck[]>;
  /** A look that failed in a way that it should not. */
  readonly onBug: (error: unknown) => void;
}

export class HealthWatch {
  readonly #world: HealthWatchWorld;
  /** By check and subject: since when. */
  readonly #sinceMs = new Map<string, number>();
  #timer: Timer | undefined;
  #dueMs = Infinity;
  #unfollow: (() => void) | undefined;

  constructor(world: HealthWatchWorld) {
    this.#world = world;
  }

  /** From now on it looks by itself. */
  start(): void {
    this.#recall();
    this.#unfollow = this.#world.events.follow(({ kind }) => {
      if (kind !== RAISED && kind !== CLEARED) this.#lookIn(SETTLE_MS);
    });
    this.#lookIn(SETTLE_MS);
  }

  stop(): void {
    this.#unfollow?.();
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#dueMs = -Infinity;
  }

  list(raised: readonly RaisedCheck[]): HealthListView {
    const checks = healthChecks.map((check) => this.#viewOf(check.id, raised));
    return { health: judgeHealth(raised).health, checks };
  }

  /** Fails with `check-unknown`. */
  show(id: string, raised: readonly RaisedCheck[]): HealthShowView {
    const ids = healthChecks.map((check) => check.id);
    if (!ids.includes(id)) {
      const meant = nearest(id, ids);
      throw new CodedError({
        code: "check-unknown",
        message: `there is no check named ${id.slice(0, 80)}`,
        hint:
          meant === undefined ? "drystone health list shows all checks" : `Did you mean ${meant}?`,
      });
    }
    return { check: this.#viewOf(id, raised), history: this.#history(id) };
  }

  #viewOf(id: string, raised: readonly RaisedCheck[]): HealthCheckView {
    const check = healthChecks.find((one) => one.id === id)!;
    const findings = raised.find((one) => one.check.id === id)?.findings ?? [];
    return {
      id,
      severity: check.severity,
      meaning: check.meaning,
      action: check.action,
      findings: findings.map(({ subject, message, action = check.action }) => {
        const sinceMs = this.#sinceMs.get(keyOf(id, subject));
        return { subject, message, action, ...(sinceMs === undefined ? {} : { sinceMs }) };
      }),
    };
  }

  #changes(): readonly EventView[] {
    const all = this.#world.events.list(0, Infinity);
    return all.filter(({ kind }) => kind === RAISED || kind === CLEARED);
  }

  #history(id: string): readonly HealthChangeView[] {
    return this.#changes()
      .filter(({ details }) => details["check"] === id)
      .map(({ timeMs, kind, details, message }) => ({
        timeMs,
        change: kind === RAISED ? "raised" : "cleared",
        subject: inShort(subjectsOf(details)),
        message,
      }));
  }

  /** What was raised when the host ended. */
  #recall(): void {
    for (const { kind, timeMs, details } of this.#changes()) {
      for (const subject of subjectsOf(details)) {
        const key = keyOf(String(details["check"]), subject);
        if (kind === RAISED) this.#sinceMs.set(key, timeMs);
        else this.#sinceMs.delete(key);
      }
    }
  }

  /** The earlier of two times wins. */
  #lookIn(delayMs: number): void {
    const { clock } = this.#world;
    const dueMs = clock.nowMs() + delayMs;
    if (dueMs >= this.#dueMs) return;
    this.#timer?.cancel();
    this.#dueMs = dueMs;
    this.#timer = clock.after(delayMs, () => {
      this.#dueMs = Infinity;
      void this.#look();
    });
  }

  async #look(): Promise<void> {
    try {
      this.#note(await this.#world.look());
    } catch (error) {
      // Nobody can be asked now; the next look tells.
      if (!(error instanceof CodedError)) this.#world.onBug(error);
    }
    this.#lookIn(LOOK_MS);
  }

  #note(raised: readonly RaisedCheck[]): void {
    const { events, clock } = this.#world;
    const seen = new Set<string>();
    for (const { check, findings } of raised) {
      const found = findings.filter(({ subject }) => {
        const key = keyOf(check.id, subject);
        seen.add(key);
        if (this.#sinceMs.has(key)) return false;
        this.#sinceMs.set(key, Math.round(clock.wallMs()));
        return true;
      });
      const level = check.severity === "note" ? "info" : "warning";
      for (const some of together(found)) {
        const subject = some.map((one) => one.subject).join(BETWEEN);
        const message = `${check.id}: ${some[0]!.message}${andMore(some.length)}`;
        events.add({ level, kind: RAISED, message, details: { check: check.id, subject } });
      }
    }
    this.#clear([...this.#sinceMs.keys()].filter((key) => !seen.has(key)));
  }

  #clear(keys: readonly string[]): void {
    const byCheck = new Map<string, string[]>();
    for (const key of keys) {
      this.#sinceMs.delete(key);
      const [check = "", subject = ""] = key.split(BETWEEN);
      const subjects = byCheck.get(check) ?? [];
      subjects.push(subject);
      byCheck.set(check, subjects);
    }
    for (const [check, subjects] of byCheck)
      for (const some of together(subjects)) {
        const message = `${check} is over for ${inShort(some)}`;
        const details = { check, subject: some.join(BETWEEN) };
        this.#world.events.add({ level: "info", kind: CLEARED, message, details });
      }
  }
}

/** One after the other if they are few. */
function together<T>(all: readonly T[]): readonly (readonly T[])[] {
  const count = all.length <= EACH_MAX ? 1 : TOGETHER_MAX;
  const parts = Math.ceil(all.length / count);
  return Array.from({ length: parts }, (_, index) => all.slice(index * count, (index + 1) * count));
}

function subjectsOf({ subject }: EventView["details"]): readonly string[] {
  return String(subject).split(BETWEEN);
}

function inShort(subjects: readonly string[]): string {
  return `${subjects[0]!}${andMore(subjects.length)}`;
}

function andMore(count: number): string {
  return count === 1 ? "" : `, and ${count - 1} more`;
}

function keyOf(check: string, subject: string): string {
  return `${check}${BETWEEN}${subject}`;
}
