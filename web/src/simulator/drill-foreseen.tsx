/** What would happen if a host failed, beside what then did happen. */
import type { ReactNode } from "react";
import type { DrillForeseen, DrillRun } from "../../../src/trial/index.ts";
import { Chip, Table } from "../parts.tsx";
import { clock } from "./words.ts";

export function Foreseen(props: {
  foreseen: DrillForeseen;
  /** Undefined as long as it was not tried. */
  runs: readonly DrillRun[] | undefined;
  onTry: () => void;
}): ReactNode {
  const { foreseen, runs, onTry } = props;
  const { host, atMs, machines, unusable, atRisk } = foreseen;
  const happened = (vm: string): DrillRun | undefined =>
    runs?.find((run) => run.machine === vm && run.isExecuting && run.atMs > atMs);
  const did = (vm: string): string => {
    const run = happened(vm);
    if (runs === undefined) return "not tried yet";
    if (run === undefined) return "has not run since";
    return `runs on ${run.host} after ${((run.atMs - atMs) / 1000).toFixed(1)} s`;
  };
  return (
    <>
      <Table
        label={`Machines if ${host} failed`}
        rows={machines}
        rowKey={({ vm }) => vm}
        empty={`No machine would notice that ${host} is gone.`}
        columns={[
          { head: "Machine", cell: ({ vm }) => vm },
          {
            head: "Would",
            cell: ({ outcome, hostId, afterMs = 0 }) =>
              outcome === "restarts" ? (
                <Chip tone="good">
                  run on {hostId} after {(afterMs / 1000).toFixed(1)} s
                </Chip>
              ) : (
                <Chip tone="warn">{outcome === "waits" ? "wait" : "stay down"}</Chip>
              ),
          },
          { head: "Did", cell: ({ vm }) => did(vm) },
          { head: "Why", cell: ({ because }) => because },
        ]}
      />
      <p>
        {unusable.length > 0 && (
          <>
            <Chip tone="bad">not usable without it</Chip> {unusable.join(", ")}{" "}
          </>
        )}
        {atRisk.length > 0 && (
          <>
            <Chip tone="warn">survive no further failure</Chip> {atRisk.join(", ")}
          </>
        )}
      </p>
      {runs === undefined && (
        <div className="buttons left">
          <button type="button" className="primary" onClick={onTry}>
            Cut its power at {clock(atMs)} and see
          </button>
        </div>
      )}
    </>
  );
}
