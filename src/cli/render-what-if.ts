/** What would happen, as people read it. */
import { formatSize } from "../base/index.ts";
import type { WhatIfMachine, WhatIfView } from "../host/index.ts";
import { table } from "./blocks.ts";
import type { Output } from "./output.ts";
import { timeText } from "./render-repair.ts";

export function whatIfLines(view: WhatIfView, output: Output): string[] {
  const { host, machines, unusable, atRisk } = view;
  const rows = machines.map((one) => [one.name, fateOf(one), one.because]);
  const nothing = machines.length === 0 && view.rebuilds.length === 0;
  return [
    `if ${host} failed now`,
    ...(nothing
      ? ["  nothing would happen: no machine runs there, and nothing is kept there"]
      : []),
    ...(machines.length === 0 ? [] : ["", ...table(output, ["MACHINE", "THEN", "WHY"], rows)]),
    ...(unusable.length + atRisk.length === 0 ? [] : [""]),
    ...unusable.map((name) => `  ${name} cannot be used until ${host} is back`),
    ...atRisk.map((name) => `  ${name} goes on, and survives no further failure`),
    ...rebuildLines(view),
  ];
}

function fateOf({ outcome, host = "?", afterSeconds = 0 }: WhatIfMachine): string {
  if (outcome === "restarts") return `runs on ${host} after about ${afterSeconds.toFixed(1)} s`;
  return outcome === "waits" ? "waits" : "stays down";
}

function rebuildLines({
  host,
  rebuilds,
  rebuildAfterSeconds,
  bytesAtMost,
  rebuildSecondsAtMost,
}: WhatIfView): string[] {
  if (rebuilds.length === 0) return [];
  const time =
    rebuildSecondsAtMost === undefined ? "" : `, ${timeText(rebuildSecondsAtMost)} at most`;
  const stuck = rebuilds.filter((one) => one.host === undefined);
  return [
    "",
    `if ${host} stays away for ${timeText(rebuildAfterSeconds)}, its copies are made anew: ` +
      `${rebuilds.length - stuck.length} of ${rebuilds.length}, ${formatSize(bytesAtMost)} at most${time}`,
    ...stuck.map(({ volume }) => `  ${volume}: no other host has a place for its copy`),
  ];
}
