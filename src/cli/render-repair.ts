/** Repairs, and what leaves the cluster, as people read it. */
import { formatSize } from "../base/index.ts";
import type { ResyncView, ServicePlanView, SettingsView } from "../host/index.ts";

const MINUTE_SECONDS = 60;
const HOUR_SECONDS = 3600;

/** Headings and rows. */
export function resyncRows(
  resyncs: readonly ResyncView[],
): readonly [readonly string[], readonly (readonly string[])[]] {
  const rows = resyncs.map((one) => [
    one.volume,
    one.kind,
    one.state,
    one.from === undefined || one.from === one.host ? one.host : `${one.from} -> ${one.host}`,
    one.share === undefined ? "" : `${(100 * one.share).toFixed(0)} %`,
    formatSize(one.bytesSent),
    formatSize(one.bytesSkipped),
    one.secondsLeft === undefined ? "" : timeText(one.secondsLeft),
  ]);
  return [["VOLUME", "WHAT", "STATE", "HOST", "DONE>", "SENT>", "SKIPPED>", "LEFT>"], rows];
}

/** Why what does not run does not. */
export function resyncLines(resyncs: readonly ResyncView[]): string[] {
  return resyncs.flatMap(({ volume, reason }) =>
    reason === undefined ? [] : [`  ${volume}: ${reason}`],
  );
}

export function settingsLines(settings: SettingsView): string[] {
  return [
    `repair delay         ${timeText(settings.repairDelaySeconds)}`,
    `rebuilds at once     ${settings.rebuildsAtOnce}`,
    `rebuilds per device  ${settings.rebuildsPerDevice}`,
    `fingerprints         ${settings.fingerprints}`,
    `all data read within ${settings.scrubDays === 0 ? "never" : `${settings.scrubDays} days`}`,
    `copies compared      ${settings.compareHours === 0 ? "never" : `every ${settings.compareHours} hours`}`,
  ];
}

function durationText(seconds: number | undefined): string {
  return seconds === undefined
    ? "; how long that takes is not known before a component was made anew here"
    : `, ${timeText(seconds)} at the speed of the last rebuilds`;
}

export function planLines(plan: ServicePlanView): string[] {
  const { kind, mode, isDryRun, host, components, bytesAtMost, secondsAtMost } = plan;
  const what = kind === "host" ? `host ${host}` : `device ${plan.id.slice(0, 8)} on ${host}`;
  const moving = components.filter(({ what: fate }) => fate === "moves");
  const stuck = components.filter(({ what: fate }) => fate === "stuck");
  const time = bytesAtMost === 0 ? "" : durationText(secondsAtMost);
  const goes = moving.map(({ volume, host: to, bytes }) => {
    return `  ${volume} to ${to ?? "?"}: ${formatSize(bytes)} at most`;
  });
  return [
    isDryRun ? `what would happen to ${what} (${mode})` : `${what} leaves (${mode})`,
    `  ${moving.length} of ${components.length} components leave, ` +
      `${formatSize(bytesAtMost)} at most${time}`,
    ...goes,
    ...stuck.map(({ volume }) => `  ${volume} has no other place to go to`),
    ...plan.unusable.map((name) => `  ${name} cannot be used while it is away`),
    ...plan.atRisk.map((name) => `  ${name} survives no further failure while it is away`),
    ...(plan.refusal === undefined ? [] : [`  it would be refused: ${plan.refusal}`]),
    ...(isDryRun ? [] : [nextLine(plan)]),
  ];
}

function nextLine({ isReady, kind }: ServicePlanView): string {
  if (!isReady) return "  next: drystone resync list, until nothing is left to move";
  return kind === "host" ? "  it may be stopped now" : "  it may be taken out now";
}

export function timeText(seconds: number): string {
  if (seconds < MINUTE_SECONDS) return `${Math.ceil(seconds)} s`;
  if (seconds < 2 * HOUR_SECONDS) return `${Math.ceil(seconds / MINUTE_SECONDS)} min`;
  return `${(seconds / HOUR_SECONDS).toFixed(1)} h`;
}
