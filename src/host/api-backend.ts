/** What the API answers from: the handlers, the events, and when the host is ready. */
import { X509Certificate } from "node:crypto";
import { statfsSync } from "node:fs";
import type { Clock, Log } from "../ports/index.ts";
import type { EventRing } from "./event-ring.ts";
import type { MachineFacts } from "./health-check.ts";
import type { HostControl } from "./host-control.ts";
import type { ApiBackend } from "./http-api.ts";
import type { JoinDesk } from "./join-desk.ts";
import { metricsText } from "./metrics-text.ts";
import type { HostTls } from "./tls-folder.ts";

export function apiBackend(
  control: HostControl,
  events: EventRing,
  log: Log,
  gate: Gate,
  desk: JoinDesk | undefined,
): ApiBackend {
  return {
    join: desk && ((request, remote) => desk.join(request, remote)),
    reportRefusal: (remote, cause) => log.write("warning", "the API refused", { remote, cause }),
    handlers: control.handlers,
    ready: gate.opened,
    metricsText: async () => {
      const { stats, status, "health.list": health } = control.handlers;
      const [first, second, third] = await Promise.all([stats({}), status({}), health({})]);
      return metricsText({ stats: first, status: second, health: third, host: control.name });
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

export function bugFields(error: unknown): { readonly stack: string | undefined } {
  return { stack: error instanceof Error ? error.stack : String(error) };
}

/** What is asked of the machine for each look at health. */
export function machineFacts(
  statePath: string,
  tls: HostTls | undefined,
  clock: Clock,
): () => MachineFacts {
  const certificate = tls && new X509Certificate(tls.credentials.certificatePem);
  const certificateEndsMs = certificate && Date.parse(certificate.validTo);
  return () => {
    const { bavail, blocks, bsize } = statfsSync(statePath);
    const nowMs = clock.wallMs();
    return {
      ...{ nowMs, stateFreeBytes: bavail * bsize, stateSizeBytes: blocks * bsize },
      certificateEndsMs,
    };
  };
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
