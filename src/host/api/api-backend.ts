/** What the API answers from: the handlers, the events, and when the host is ready. */
import { X509Certificate } from "node:crypto";
import { statfsSync } from "node:fs";
import { totalmem } from "node:os";
import { errorText } from "../../base/index.ts";
import type { Clock, Directory, Log, MetadataStore } from "../../ports/index.ts";
import { AccessDesk } from "./access-desk.ts";
import { AuditLog } from "./audit-log.ts";
import type { Closers } from "../closers.ts";
import type { EventRing } from "./event-ring.ts";
import type { MachineFacts } from "../health/health-check.ts";
import type { AccessDesks, HostControl } from "../host-control.ts";
import type { ApiBackend } from "./http-api.ts";
import type { JoinDesk } from "../certificates/join-desk.ts";
import { metricsText } from "./metrics-text.ts";
import { keyReasonAgainst } from "../keys/cluster-key-file.ts";
import type { HostConfig } from "../host-config.ts";
import type { MemoryPlan } from "../data/memory-plan.ts";
import type { StateDir } from "../state-dir.ts";
import type { HostTls } from "../certificates/tls-folder.ts";

export function apiBackend(
  control: HostControl,
  events: EventRing,
  log: Log,
  gate: Gate,
  desk: JoinDesk | undefined,
): ApiBackend {
  const { access, audit } = control.desks;
  return {
    join: desk && ((request, remote) => desk.join(request, remote)),
    renew: desk && ((request, hostId) => desk.renew(request, hostId)),
    reportRefusal: (remote, cause) => log.write("warning", "the API refused", { remote, cause }),
    handlers: control.handlers,
    principalOf: (token, remote) => access.principalOf(token, remote),
    audit: (entry) => audit.add(entry),
    ready: gate.opened,
    metricsText: async () => {
      const { stats, status, "health.list": health } = control.handlers;
      const [first, own, second, third] = await Promise.all([
        stats({}),
        control.ownStats(),
        status({}),
        health({}),
      ]);
      return metricsText({ stats: first, own, status: second, health: third, host: control.name });
    },
    unhealthyReason: () => control.unhealthyReason(),
    unreadyReason: async () => (gate.isOpen ? await control.unreadyReason() : "the host starts"),
    followEvents: (listener) => events.follow(listener),
    reportBug: (operation, error) =>
      log.write("error", "an operation failed because of a bug", {
        operation,
        ...bugFields(error),
      }),
  };
}

export function accessDesks(world: {
  readonly store: MetadataStore;
  readonly directory: Directory;
  readonly clusterId: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly closers: Closers;
}): AccessDesks {
  const { store, directory, clusterId, clock, log, closers } = world;
  const lost = (error: unknown): void =>
    log.write("error", "an entry of the audit log was not stored", { error: errorText(error) });
  const audit = new AuditLog(store, clock, lost);
  closers.add("audit log", async () => audit.close());
  return {
    access: new AccessDesk({ directory, clusterId, clock }),
    audit,
  };
}

export function healthBug(log: Log): (error: unknown) => void {
  return (error) => log.write("error", "health was not judged", bugFields(error));
}

function bugFields(error: unknown): { readonly stack: string | undefined } {
  return { stack: error instanceof Error ? error.stack : String(error) };
}

/** What is asked of the machine for each look at health. */
export function machineFacts(
  { path: statePath }: Pick<StateDir, "path">,
  { keyFile, memoryBytes }: Pick<HostConfig, "keyFile" | "memoryBytes">,
  plan: MemoryPlan,
  tls: HostTls | undefined,
  clock: Clock,
): () => MachineFacts {
  const endsMs = (): number | undefined =>
    tls && Date.parse(new X509Certificate(tls.trust.credentials.certificatePem).validTo);
  let certificateEndsMs = endsMs();
  tls?.trust.onChange(() => (certificateEndsMs = endsMs()));
  const memory = {
    ...{ planBytes: plan.residentBytes, limitBytes: memoryLimit() },
    ...{ configuredBytes: memoryBytes, usedBytes: plan.usedBytes },
  };
  return () => {
    const { bavail, blocks, bsize } = statfsSync(statePath);
    const nowMs = clock.wallMs();
    return {
      ...{ nowMs, stateFreeBytes: bavail * bsize, stateSizeBytes: blocks * bsize },
      memory,
      certificateEndsMs,
      keyReason: keyReasonAgainst(keyFile),
    };
  };
}

/** In bytes: without a limit the control group says 0, or more than there can be. */
function memoryLimit(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** A promise with a handle. */
export class Gate {
  isOpen = false;
  readonly opened: Promise<void>;
  open: () => void = () => undefined;

  constructor() {
    this.opened = new Promise((resolve) => {
      this.open = () => {
        this.isOpen = true;
        resolve();
      };
    });
  }
}
