/** How far an upgrade is, as people read it. */
import type { UpgradeView } from "../host/index.ts";
import { table } from "./blocks.ts";
import type { Output } from "./output.ts";

export function upgradeLines(shown: UpgradeView, output: Output): string[] {
  const { clusterVersion, isFinal, mayFinalize, hosts } = shown;
  const next = mayFinalize
    ? "  next: drystone upgrade finalize, when nothing is to be taken back"
    : "  next: upgrade the hosts that know no newer one, one after the other";
  return [
    `the cluster uses version ${clusterVersion}${isFinal ? ", the newest" : ""}`,
    ...(isFinal ? [] : [next]),
    "",
    ...table(
      output,
      ["HOST", "KNOWS>", "PROGRAM"],
      hosts.map(({ host, clusterVersion: knows, version }) => [
        ...[host, String(knows), version ?? "before versions were told"],
      ]),
    ),
  ];
}
