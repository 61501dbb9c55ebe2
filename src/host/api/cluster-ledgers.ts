/**
 * Events and audit entries of all hosts as one list. Each host keeps its own, so that nothing that
 * happens depends on another one being there; who wants all of them asks them all.
 */
import { CodedError } from "../../base/index.ts";
import type { AuditLog } from "./audit-log.ts";
import type { EventRing } from "./event-ring.ts";
import type { OtherHosts } from "../peers/other-hosts.ts";
import { auditListShape } from "./access-shapes.ts";
import { readAnswer } from "../peers/peer-answers.ts";
import { eventListShape } from "./view-shapes.ts";
import type { AuditList, AuditRequest, EventList, EventsRequest } from "./views.ts";

const LIMIT_DEFAULT = 100;
/** Whoever looks wants an answer, also while a host hangs. */
const ASK_MS = 3000;

interface LedgerHost {
  readonly hostId: string;
  readonly name: string;
  readonly managementAddress: string;
}

export interface ClusterLedgersWorld {
  readonly hostId: string;
  readonly events: EventRing;
  readonly audit: AuditLog;
  readonly others: Pick<OtherHosts, "callAt">;
  /** This host's, too. */
  readonly hosts: () => Promise<readonly LedgerHost[]>;
}

interface Gathered<T> {
  readonly entries: readonly T[];
  /** Names of hosts that did not answer. */
  readonly silentHosts: readonly string[];
}

export class ClusterLedgers {
  readonly #world: ClusterLedgersWorld;

  constructor(world: ClusterLedgersWorld) {
    this.#world = world;
  }

  /** Fails with `request-invalid` where one host's numbers are to count for all of them. */
  async events(request: EventsRequest): Promise<EventList> {
    const { after = 0, limit = LIMIT_DEFAULT, allHosts = false } = request;
    const { events: ring } = this.#world;
    const { lastSequence } = ring;
    const own = ring.list(after, limit);
    if (!allHosts) return { events: own, lastSequence };
    refuseNumbers(request);
    const { entries, silentHosts } = await this.#gather(own, limit, async (host) => {
      return readAnswer(eventListShape, await this.#ask(host, "events", limit)).events;
    });
    return { events: entries, lastSequence, silentHosts };
  }

  /** Fails as `events`. */
  async audit(request: AuditRequest): Promise<AuditList> {
    const { after = 0, limit = LIMIT_DEFAULT, allHosts = false } = request;
    const own = this.#world.audit.list(after, limit);
    if (!allHosts) return { entries: own };
    refuseNumbers(request);
    return await this.#gather(own, limit, async (host) => {
      return readAnswer(auditListShape, await this.#ask(host, "audit", limit)).entries;
    });
  }

  async #ask(host: LedgerHost, what: "events" | "audit", limit: number): Promise<unknown> {
    const path = `/v1/${what}?limit=${limit}`;
    return await this.#world.others.callAt(host, "GET", path, undefined, ASK_MS);
  }

  async #gather<T extends { readonly timeMs: number }>(
    own: readonly T[],
    limit: number,
    ask: (host: LedgerHost) => Promise<readonly T[]>,
  ): Promise<Gathered<T & { readonly host: string }>> {
    const silentHosts: string[] = [];
    const asked = (await this.#world.hosts()).map(async (host) => {
      const entries = host.hostId === this.#world.hostId ? own : await answerOf(ask(host));
      if (entries === undefined) silentHosts.push(host.name);
      return (entries ?? []).map((entry) => ({ ...entry, host: host.name }));
    });
    const all = (await Promise.all(asked)).flat();
    // Stable, so that each host's own order stays where its clock stood still.
    const entries = all.toSorted((left, right) => left.timeMs - right.timeMs).slice(-limit);
    return { entries, silentHosts: silentHosts.toSorted() };
  }
}

async function answerOf<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof CodedError) return undefined;
    throw error;
  }
}

function refuseNumbers({ after, follow }: EventsRequest): void {
  if (after === undefined && follow !== true) return;
  throw new CodedError({
    code: "request-invalid",
    message:
      "each host numbers its own: all hosts' cannot be followed, or asked for after a number",
    hint: "Leave out --follow and --after, or --all-hosts",
  });
}
