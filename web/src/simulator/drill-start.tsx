/** Where a drill begins: an example, or a copy of the cluster that runs. */
import { useState } from "react";
import type { ReactNode } from "react";
import { textOf } from "../actions.tsx";
import { ChoiceField, TextField } from "../form-dialog.tsx";
import { Card } from "../parts.tsx";
import { href } from "../route.ts";
import { nameOfDrill } from "./drill-link.ts";
import type { DrillSpec } from "./drill-link.ts";
import { liveLayout } from "./live-layout.ts";

const SEED = 7;
const LENGTH_MS = 60_000;

function begin(layout: DrillSpec["layout"]): void {
  const spec = { seed: SEED, lengthMs: LENGTH_MS, layout, script: [] };
  window.location.hash = href("simulator", nameOfDrill(spec));
}

export function DrillStart(): ReactNode {
  const [hosts, setHosts] = useState("5");
  const [machines, setMachines] = useState("20");
  const [fault, setFault] = useState<string>();
  const copy = async (): Promise<void> => {
    try {
      const layout = await liveLayout();
      if (typeof layout === "string") setFault(layout);
      else begin(layout);
    } catch (error) {
      setFault(textOf(error));
    }
  };
  return (
    <Card title="Try failures out by hand">
      <p>
        Stop hosts, cut networks, break disks, and see which machines restart where and what is
        copied. The code of Drystone itself decides, in a cluster that exists in this browser alone.
        Volumes are small there, and machines only count on their disks.
      </p>
      <div className="filters">
        <div className="buttons end">
          <button type="button" className="primary" onClick={() => void copy()}>
            Copy this cluster
          </button>
        </div>
        <form
          className="filters"
          onSubmit={(event) => {
            event.preventDefault();
            begin({ hostCount: Number(hosts), machineCount: Number(machines) });
          }}
        >
          <ChoiceField
            label="Or an example: hosts"
            value={hosts}
            choices={["3", "4", "5", "8", "16"].map((count) => [count, count] as const)}
            onChange={setHosts}
          />
          <TextField
            label="Machines"
            value={machines}
            pattern="[1-9]|[1-9][0-9]"
            onChange={setMachines}
          />
          <div className="buttons end">
            <button type="submit">Begin with the example</button>
          </div>
        </form>
      </div>
      {fault !== undefined && (
        <p className="fault" role="alert">
          {fault}
        </p>
      )}
    </Card>
  );
}
