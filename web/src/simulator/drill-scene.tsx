/** The cluster of a drill at one moment, and what can be done to it then. */
import type { ReactNode } from "react";
import type { DrillActionKind, DrillLayout, DrillMoment } from "../../../src/trial/index.ts";
import { Chip, Table } from "../parts.tsx";
import { componentTone } from "../tones.ts";
import { actionWords, possible } from "./drill-words.ts";

export interface SceneProps {
  readonly layout: DrillLayout;
  readonly moment: DrillMoment;
  readonly onAct: (host: number, kind: DrillActionKind) => void;
  readonly onAsk: (host: number) => void;
}

export function DrillScene(props: SceneProps): ReactNode {
  const { layout, moment } = props;
  const idle = layout.machines.filter((_, i) => moment.machines[i]?.host === undefined);
  return (
    <>
      <ul className="plain drill-hosts">
        {layout.hosts.map(({ name }, number) => (
          <DrillHost key={name} {...props} number={number} />
        ))}
      </ul>
      {idle.length > 0 && (
        <p>
          <strong>Not running now:</strong> {idle.map(({ name }) => name).join(", ")}
        </p>
      )}
    </>
  );
}

function DrillHost(props: SceneProps & { readonly number: number }): ReactNode {
  const { layout, moment, number, onAct, onAsk } = props;
  const host = moment.hosts[number];
  const name = layout.hosts[number]?.name ?? "";
  if (host === undefined) return null;
  const here = layout.machines.filter((_, i) => moment.machines[i]?.host === name);
  return (
    <li className={host.isUp ? "box" : "box silent"}>
      <strong>{name}</strong>
      <div className="chips">
        <Chip tone={host.isUp ? "good" : "bad"}>{host.isUp ? "up" : "off"}</Chip>
        {host.isUp && !host.hasLease && <Chip tone="warn">no lease</Chip>}
        {host.isStorageCut && <Chip tone="bad">storage cut</Chip>}
        {host.isManagementCut && <Chip tone="bad">management cut</Chip>}
        {host.isDiskBroken && <Chip tone="bad">disk broken</Chip>}
      </div>
      <small>{here.length === 0 ? "no machine" : here.map((vm) => vm.name).join(", ")}</small>
      <label>
        <span className="hidden">Do to {name}</span>
        <select
          value=""
          onChange={(event) => {
            const kind = possible(host).find((one) => one === event.target.value);
            if (kind !== undefined) onAct(number, kind);
          }}
        >
          <option value="">Do to it…</option>
          {possible(host).map((kind) => (
            <option key={kind} value={kind}>
              {actionWords[kind]}
            </option>
          ))}
        </select>
      </label>
      <button type="button" className="small" disabled={!host.isUp} onClick={() => onAsk(number)}>
        What if {name} failed?
      </button>
    </li>
  );
}

export function DrillVolumes({ layout, moment }: Pick<SceneProps, "layout" | "moment">): ReactNode {
  const rows = layout.volumes.map(({ name }, i) => ({ name, volume: moment.volumes[i] }));
  return (
    <Table
      label="Volumes of the drill"
      rows={rows}
      rowKey={({ name }) => name}
      empty="There is no volume."
      columns={[
        { head: "Volume", cell: ({ name }) => name },
        { head: "Owner", cell: ({ volume }) => volume?.owner ?? "none" },
        {
          head: "Components",
          cell: ({ volume }) => (
            <span className="chips">
              {volume?.components.map(({ host, state }, index) => (
                <Chip key={`${host} ${index}`} tone={componentTone(state)}>
                  {host} {state}
                </Chip>
              ))}
            </span>
          ),
        },
      ]}
    />
  );
}
