/** The hosts and both networks. */
import { useState } from "react";
import type { ReactNode } from "react";
import type { HostView } from "../../../src/host/index.ts";
import { useActions } from "../actions.tsx";
import { call } from "../api.ts";
import type { PageProps } from "../app.tsx";
import { bytes, plural, shortId } from "../format.ts";
import { NetworkMap, useNetworks } from "../network-map.tsx";
import { Card, Chip, Facts, Table } from "../parts.tsx";
import { Resyncs } from "../resyncs.tsx";
import { href } from "../route.ts";
import { MaintenanceDialog, modeWords } from "../service-plan.tsx";
import { hasLists } from "../cluster-store.ts";
import type { ClusterState } from "../cluster-store.ts";
import { hostTones, vmTones } from "../tones.ts";
import { Waiting } from "../waiting.tsx";
import { WhatIf } from "../what-if.tsx";

export function HostsPage({ cluster, name }: PageProps): ReactNode {
  const { status } = cluster;
  const networks = useNetworks(cluster.samples.at(-1)?.timeMs ?? 0);
  if (status === undefined) return <p className="empty">Asking the host…</p>;
  if (name !== undefined) {
    const host = status.hosts.find((one) => one.name === name);
    if (host === undefined) return <p className="empty">There is no host of this name.</p>;
    // Without what leaves it, it would seem that nothing does.
    return hasLists(cluster) ? <Host host={host} cluster={cluster} /> : <Waiting />;
  }
  return (
    <>
      {networks !== undefined && <NetworkMap view={networks} />}
      <Card title="Hosts, as seen from the one that you ask">
        <Table
          label="Hosts"
          rows={status.hosts}
          rowKey={(host) => host.hostId}
          empty="There is no host."
          columns={[
            { head: "Name", cell: (host) => <a href={href("hosts", host.name)}>{host.name}</a> },
            { head: "State", cell: (host) => <State host={host} /> },
            { head: "Storage", cell: ({ storage }) => <Link state={storage} /> },
            { head: "Management", cell: ({ management }) => <Link state={management} /> },
            { head: "Lease", cell: ({ lease }) => lease ?? "–" },
            { head: "Fault domain", cell: ({ faultDomain }) => faultDomain },
            { head: "Attached", cell: (host) => host.attachedCount, isNumber: true },
            { head: "API", cell: ({ apiAddress }) => apiAddress },
            { head: "Action", cell: (host) => <MaintenanceButton host={host} className="small" /> },
          ]}
        />
      </Card>
      <WhatIf hosts={status.hosts} />
    </>
  );
}

function MaintenanceButton({ host, className }: { host: HostView; className: string }): ReactNode {
  const { name, maintenance } = host;
  const { ask } = useActions();
  const [isAsking, setAsking] = useState(false);
  const end = (): void =>
    ask({
      title: `End the maintenance of ${name}?`,
      text: <p>It takes new copies again. What has left it stays where it is.</p>,
      verb: "Put it back into service",
      act: () => call("host.maintenance-off", { name }),
      done: `${name} is back in service.`,
    });
  if (maintenance !== undefined)
    return (
      <button
        type="button"
        className={className}
        aria-label={`End maintenance of ${name}`}
        onClick={end}
      >
        End maintenance
      </button>
    );
  return (
    <>
      <button
        type="button"
        className={className}
        aria-label={`Maintenance of ${name}`}
        onClick={() => setAsking(true)}
      >
        Maintenance
      </button>
      {isAsking && <MaintenanceDialog host={name} onClose={() => setAsking(false)} />}
    </>
  );
}

/** One host: what is on it, and what leaves it. */
function Host({ host, cluster }: { host: HostView; cluster: ClusterState }): ReactNode {
  const { name, maintenance } = host;
  const leaving = cluster.resyncs.filter(({ from }) => from === name);
  const devices = cluster.status?.devices.filter((device) => device.host === name) ?? [];
  const held = cluster.volumes.filter(({ components }) =>
    components.some((component) => component.host === name),
  );
  return (
    <>
      <Card title="State" aside={<MaintenanceButton host={host} className="" />}>
        <Facts
          rows={[
            ["State", <State host={host} />],
            ["Storage network", <Link state={host.storage} />],
            ["Management network", <Link state={host.management} />],
            ["Lease", host.lease ?? "–"],
            ["Fault domain", host.faultDomain],
            ["API", host.apiAddress],
            ["Volumes attached", host.attachedCount],
            ["Volumes with a part on it", held.length],
          ]}
        />
        {maintenance !== undefined && (
          <p role="status">
            {leaving.length === 0
              ? "Nothing leaves it any more: it may be stopped."
              : `${plural(leaving.length, "component")} of it still to be moved.`}
          </p>
        )}
      </Card>
      <Resyncs resyncs={leaving} />
      <Card title="Devices">
        <Table
          label="Devices"
          rows={devices}
          rowKey={({ deviceId }) => deviceId}
          empty="It gives no device, or does not answer."
          columns={[
            { head: "Device", cell: ({ deviceId }) => shortId(deviceId) },
            {
              head: "State",
              cell: ({ state }) => <Chip tone={state === "online" ? "good" : "bad"}>{state}</Chip>,
            },
            { head: "Free", cell: ({ freeBytes }) => bytes(freeBytes), isNumber: true },
            { head: "Size", cell: ({ capacityBytes }) => bytes(capacityBytes), isNumber: true },
            { head: "Components", cell: (device) => device.componentCount, isNumber: true },
          ]}
        />
      </Card>
      <Card title="Machines">
        <Table
          label="Machines"
          rows={cluster.vms.filter((vm) => vm.host === name)}
          rowKey={(vm) => vm.name}
          empty="No machine runs here."
          columns={[
            { head: "Name", cell: (vm) => <a href={href("vms", vm.name)}>{vm.name}</a> },
            { head: "State", cell: (vm) => <Chip tone={vmTones[vm.state]}>{vm.state}</Chip> },
          ]}
        />
      </Card>
    </>
  );
}

function State({ host: { state, reason, maintenance } }: { host: HostView }): ReactNode {
  return (
    <>
      <Chip tone={hostTones[state]}>{state}</Chip>
      {maintenance !== undefined && (
        <>
          {" "}
          <Chip tone="busy">in maintenance: {modeWords[maintenance]}</Chip>
        </>
      )}
      {reason !== undefined && <small className="reason">{reason}</small>}
    </>
  );
}

function Link({ state }: { state: "up" | "down" | undefined }): ReactNode {
  if (state === undefined) return "–";
  return <Chip tone={state === "up" ? "good" : "bad"}>{state}</Chip>;
}
