/** Rules for Prometheus: an alert for each check of health that is more than a note, and a few. */
import { healthChecks } from "../../src/host/index.ts";

interface Alert {
  readonly name: string;
  readonly expression: string;
  readonly forText: string;
  readonly severity: "critical" | "warning";
  readonly summary: string;
  readonly action: string;
}

/** What Prometheus sees and a host does not. */
const others: readonly Alert[] = [
  {
    name: "DrystoneHostNotScraped",
    expression: 'up{job="drystone"} == 0',
    forText: "1m",
    severity: "warning",
    summary: "The API of a host does not answer Prometheus",
    action: "start the host again, or check the way to it and its certificate",
  },
  {
    name: "DrystoneRequestsSlow",
    expression:
      "histogram_quantile(0.99, sum by (le, volume) (rate(drystone_volume_request_seconds_bucket[5m]))) > 0.5",
    forText: "10m",
    severity: "warning",
    summary: "1 % of a volume's requests take longer than half a second",
    action: "look at the load of the devices and at the storage network",
  },
  {
    name: "DrystoneRequestsFail",
    expression: "sum by (volume) (rate(drystone_volume_faults_total[5m])) > 0",
    forText: "1m",
    severity: "critical",
    summary: "Requests of a volume are answered with errors",
    action: "drystone health list; drystone events",
  },
  {
    name: "DrystoneFullWithinFourDays",
    expression:
      "predict_linear(drystone_device_free_bytes[1d], 4 * 86400) < 0 and drystone_device_free_bytes > 0",
    forText: "1h",
    severity: "warning",
    summary: "At the pace of the last day a device is full within four days",
    action: "delete or discard data, or add a device",
  },
];

export function alertRules(): string {
  const checks = healthChecks
    .filter(({ severity }) => severity !== "note")
    .map(({ id, severity, meaning, action }): Alert => ({
      name: `Drystone${id.replace(/(?:^|-)([a-z])/g, (_match, letter: string) => letter.toUpperCase())}`,
      // Each host tells what it sees: one is enough.
      expression: `max(drystone_health_findings{check="${id}"}) > 0`,
      forText: severity === "failed" ? "30s" : "2m",
      severity: severity === "failed" ? "critical" : "warning",
      summary: meaning,
      action,
    }));
  const rules = [...checks, ...others].map(ruleText).join("");
  return `# Generated from the checks of health: npm run format writes it anew.\ngroups:\n  - name: drystone\n    rules:\n${rules}`;
}

function ruleText({ name, expression, forText, severity, summary, action }: Alert): string {
  return [
    `      - alert: ${name}`,
    `        expr: ${quoted(expression)}`,
    `        for: ${forText}`,
    "        labels:",
    `          severity: ${severity}`,
    "        annotations:",
    `          summary: ${quoted(summary)}`,
    `          description: ${quoted(`What to do: ${action}. More: drystone health list`)}`,
    "",
  ].join("\n");
}

/** A single-quoted scalar of YAML. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
