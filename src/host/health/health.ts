/** From what is known of the cluster to one word, the reasons for it, and what to do. */
import type { HealthCheck, HealthFacts, HealthFinding } from "./health-check.ts";
import { deviceChecks } from "./health-of-devices.ts";
import { directoryChecks } from "./health-of-directory.ts";
import { hostChecks } from "./health-of-hosts.ts";
import { servedChecks } from "./health-of-volumes.ts";
import type { HealthReason, HealthWord } from "../api/views.ts";

export const healthChecks: readonly HealthCheck[] = [
  ...hostChecks,
  ...directoryChecks,
  ...deviceChecks,
  ...servedChecks,
];

export interface RaisedCheck {
  readonly check: HealthCheck;
  /** One at least. */
  readonly findings: readonly HealthFinding[];
}

export function raisedChecks(facts: HealthFacts): readonly RaisedCheck[] {
  return healthChecks
    .map((check) => ({ check, findings: check.find(facts) }))
    .filter(({ findings }) => findings.length > 0);
}

/** Notes are no reasons: with nothing but notes the cluster is healthy. */
export function judgeHealth(raised: readonly RaisedCheck[]): {
  readonly health: HealthWord;
  readonly reasons: readonly HealthReason[];
} {
  const bad = raised.filter(({ check }) => check.severity !== "note");
  const reasons = bad.flatMap(({ check, findings }) =>
    findings.map(({ message, action = check.action }) => ({ code: check.id, message, action })),
  );
  if (bad.some(({ check }) => check.severity === "failed")) return { health: "failed", reasons };
  return { health: bad.length === 0 ? "healthy" : "degraded", reasons };
}
