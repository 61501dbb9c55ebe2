/** What can be done to a host in a drill, as people say it. */
import type { DrillAction, DrillActionKind, DrillHostMoment } from "../../../src/trial/index.ts";
import type { FaultSpan } from "./trial-story.ts";

export const actionWords: Readonly<Record<DrillActionKind, string>> = {
  "kill-process": "Kill its process",
  "cut-power": "Cut its power",
  start: "Start it",
  "cut-storage": "Cut its storage network",
  "mend-storage": "Mend its storage network",
  "cut-management": "Cut its management network",
  "mend-management": "Mend its management network",
  "break-disk": "Break its disk",
  "mend-disk": "Mend its disk, and start it anew",
};

/** What makes sense now. */
export function possible(host: DrillHostMoment): readonly DrillActionKind[] {
  const life: readonly DrillActionKind[] = host.isUp ? ["cut-power", "kill-process"] : ["start"];
  return [
    ...life,
    host.isStorageCut ? "mend-storage" : "cut-storage",
    host.isManagementCut ? "mend-management" : "cut-management",
    host.isDiskBroken ? "mend-disk" : "break-disk",
  ];
}

const ends: Readonly<Partial<Record<DrillActionKind, DrillActionKind>>> = {
  "kill-process": "start",
  "cut-power": "start",
  "cut-storage": "mend-storage",
  "cut-management": "mend-management",
  "break-disk": "mend-disk",
};

/** From when to when something is wrong. */
export function spansOf(
  script: readonly DrillAction[],
  names: readonly string[],
): readonly FaultSpan[] {
  return script.flatMap(({ kind, host, atMs }) => {
    const end = ends[kind];
    if (end === undefined) return [];
    const ended = script.find((one) => {
      return one.kind === end && one.host === host && one.atMs >= atMs;
    });
    const what = `${names[host] ?? ""}: ${actionWords[kind].toLowerCase()}`;
    return [{ what, fromMs: atMs, toMs: ended?.atMs ?? Infinity }];
  });
}
