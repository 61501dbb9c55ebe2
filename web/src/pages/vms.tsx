/** Virtual machines: where they run, and what was decided about them. */
import { useState } from "react";
import type { ReactNode } from "react";
import type { HostView, VmView } from "../../../src/host/index.ts";
import { call } from "../api.ts";
import type { PageProps } from "../app.tsx";
import { hasLists } from "../cluster-store.ts";
import { ago, bytes, clockTime } from "../format.ts";
import { NewVm } from "../new-vm.tsx";
import { Card, Chip, CommandLine, Facts, Table } from "../parts.tsx";
import { href } from "../route.ts";
import { vmTones } from "../tones.ts";
import { useAnswer } from "../use-answer.ts";
import { AllVmButtons, VmButtons } from "../vm-buttons.tsx";
import { Waiting } from "../waiting.tsx";

export function VmsPage({ cluster, name }: PageProps): ReactNode {
  const [isMaking, setMaking] = useState(false);
  const { vms } = cluster;
  const hosts = cluster.status?.hosts ?? [];
  if (!hasLists(cluster)) return <Waiting />;
  if (name !== undefined) {
    const vm = vms.find((one) => one.name === name);
    if (vm === undefined) return <p className="empty">There is no machine of this name.</p>;
    const version = cluster.samples.at(-1)?.timeMs ?? 0;
    return <Machine vm={vm} hosts={hosts} nowMs={cluster.nowMs} version={version} />;
  }
  return (
    <Card
      title="Virtual machines"
      aside={
        <button type="button" className="primary" onClick={() => setMaking(true)}>
          Define a machine
        </button>
      }
    >
      {isMaking && <NewVm volumes={cluster.volumes} onClose={() => setMaking(false)} />}
      <Table
        label="Virtual machines"
        rows={vms}
        rowKey={(vm) => vm.name}
        empty={<NoMachines />}
        find={({ name, host, state }) => `${name} ${host ?? ""} ${state}`}
        columns={[
          { head: "Name", cell: (vm) => <a href={href("vms", vm.name)}>{vm.name}</a> },
          { head: "State", cell: (vm) => <Chip tone={vmTones[vm.state]}>{vm.state}</Chip> },
          { head: "Host", cell: (vm) => <Where vm={vm} /> },
          { head: "Protected", cell: ({ protection }) => protectionWords[protection] },
          { head: "Processors", cell: (vm) => vm.cpuCount, isNumber: true },
          { head: "Memory", cell: (vm) => bytes(vm.memoryBytes), isNumber: true },
          { head: "Action", cell: (vm) => <VmButtons vm={vm} hosts={hosts} /> },
        ]}
      />
    </Card>
  );
}

function NoMachines(): ReactNode {
  return (
    <>
      No machine is defined yet. On any host:
      <CommandLine line="drystone vm create web1 --volume web1 --memory 2G" />
    </>
  );
}

const protectionWords: Readonly<Record<VmView["protection"], string>> = {
  protected: "yes",
  pending: "not yet in force",
  unprotected: "no",
};

function Where({ vm }: { vm: VmView }): ReactNode {
  const { host = "none", movesTo } = vm;
  if (movesTo === undefined) return host;
  return (
    <>
      {host} <Chip tone="busy">moves to {movesTo}</Chip>
    </>
  );
}

function Machine(props: {
  vm: VmView;
  hosts: readonly HostView[];
  nowMs: number;
  version: number;
}): ReactNode {
  const { vm, nowMs } = props;
  return (
    <>
      <Card title="State" aside={<AllVmButtons vm={vm} hosts={props.hosts} />}>
        {vm.waitsBecause !== undefined && <p className="fault">{vm.waitsBecause}</p>}
        <Facts
          rows={[
            ["State", <Chip tone={vmTones[vm.state]}>{vm.state}</Chip>],
            ["Host", <Where vm={vm} />],
            ["Started elsewhere when its host fails", protectionWords[vm.protection]],
            ["Priority", vm.priority],
            ["Kept apart from the others of", vm.antiAffinity ?? "no group"],
            ["Processors", vm.cpuCount],
            ["Memory", bytes(vm.memoryBytes)],
            ["Placements so far", vm.epoch],
          ]}
        />
      </Card>
      <Card title="Disks">
        <ul className="plain">
          {vm.volumes.map((volume) => (
            <li key={volume}>
              <a href={href("volumes", volume)}>{volume}</a>
            </li>
          ))}
        </ul>
      </Card>
      <Places name={vm.name} version={props.version} />
      <Card title="What was decided, and why">
        {vm.history.length === 0 && <p className="empty">Nothing yet.</p>}
        <ol className="history">
          {vm.history.toReversed().map(({ timeMs, host, what, because }) => (
            <li key={`${timeMs} ${host} ${what}`}>
              <time dateTime={new Date(timeMs).toISOString()} title={clockTime(timeMs)}>
                {ago(timeMs, nowMs)}
              </time>
              <span>
                <strong>{what}</strong> on {host}: {because}
              </span>
            </li>
          ))}
        </ol>
      </Card>
    </>
  );
}

/** Where it could run, as each host says. */
function Places({ name, version }: { name: string; version: number }): ReactNode {
  const { value } = useAnswer(() => call("vm.why", { name }), version, name);
  if (value === undefined) return null;
  return (
    <Card title="Where it could run">
      <Table
        label="Where it could run"
        rows={value.places}
        rowKey={({ host }) => host}
        empty="No host has said anything about it yet."
        columns={[
          { head: "Host", cell: ({ host }) => host },
          {
            head: "Looks after machines",
            cell: ({ isAlive }) => (
              <Chip tone={isAlive ? "good" : "bad"}>{isAlive ? "yes" : "no"}</Chip>
            ),
          },
          {
            head: "Reaches all its disks",
            cell: ({ isAccessible, reason }) => (
              <>
                <Chip tone={isAccessible ? "good" : "bad"}>{isAccessible ? "yes" : "no"}</Chip>
                {reason !== undefined && <small className="reason">{reason}</small>}
              </>
            ),
          },
        ]}
      />
    </Card>
  );
}
