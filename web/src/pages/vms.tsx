/** Virtual machines: where they run, and what was decided about them. */
import type { ReactNode } from "react";
import type { VmView } from "../../../src/host/index.ts";
import { useActions } from "../actions.tsx";
import { call } from "../api.ts";
import type { PageProps } from "../app.tsx";
import { ago, bytes, clockTime } from "../format.ts";
import { Card, Chip, CommandLine, Facts, Table } from "../parts.tsx";
import { href } from "../route.ts";
import { vmTones } from "../tones.ts";

export function VmsPage({ cluster, name }: PageProps): ReactNode {
  const { vms } = cluster;
  if (name !== undefined) {
    const vm = vms.find((one) => one.name === name);
    if (vm === undefined) return <p className="empty">There is no machine of this name.</p>;
    return <Machine vm={vm} nowMs={cluster.nowMs} />;
  }
  return (
    <Card title="Virtual machines">
      <Table
        label="Virtual machines"
        rows={vms}
        rowKey={(vm) => vm.name}
        empty={<NoMachines />}
        columns={[
          { head: "Name", cell: (vm) => <a href={href("vms", vm.name)}>{vm.name}</a> },
          { head: "State", cell: (vm) => <Chip tone={vmTones[vm.state]}>{vm.state}</Chip> },
          { head: "Host", cell: (vm) => vm.host ?? "none" },
          { head: "Protected", cell: (vm) => (vm.isProtected ? "yes" : "no") },
          { head: "Processors", cell: (vm) => vm.cpuCount, isNumber: true },
          { head: "Memory", cell: (vm) => bytes(vm.memoryBytes), isNumber: true },
          { head: "Action", cell: (vm) => <VmButtons vm={vm} /> },
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

function VmButtons({ vm }: { vm: VmView }): ReactNode {
  const { ask } = useActions();
  const { name, state } = vm;
  if (state === "stopped")
    return (
      <button
        type="button"
        className="small"
        aria-label={`Start ${name}`}
        onClick={() =>
          ask({
            title: `Start ${name}?`,
            text: <p>A host with room is chosen for it.</p>,
            verb: "Start",
            act: () => call("vm.start", { name }),
            done: `${name} is being started.`,
          })
        }
      >
        Start
      </button>
    );
  return (
    <button
      type="button"
      className="small"
      aria-label={`Stop ${name}`}
      disabled={state === "stopping"}
      onClick={() =>
        ask({
          title: `Stop ${name}?`,
          text: <p>The guest is asked to shut down, and ended after a minute if it does not.</p>,
          verb: "Stop",
          isDanger: true,
          act: () => call("vm.stop", { name }),
          done: `${name} is being stopped.`,
        })
      }
    >
      Stop
    </button>
  );
}

function Machine({ vm, nowMs }: { vm: VmView; nowMs: number }): ReactNode {
  return (
    <>
      <Card title="State" aside={<VmButtons vm={vm} />}>
        <Facts
          rows={[
            ["State", <Chip tone={vmTones[vm.state]}>{vm.state}</Chip>],
            ["Host", vm.host ?? "none"],
            ["Started elsewhere when its host fails", vm.isProtected ? "yes" : "no"],
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
