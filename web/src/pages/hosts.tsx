/** The hosts and both networks. */
import type { ReactNode } from "react";
import type { HostView } from "../../../src/host/index.ts";
import type { PageProps } from "../app.tsx";
import { NetworkMap, useNetworks } from "../network-map.tsx";
import { Card, Chip, Table } from "../parts.tsx";
import { hostTones } from "../tones.ts";
import { WhatIf } from "../what-if.tsx";

export function HostsPage({ cluster }: PageProps): ReactNode {
  const { status } = cluster;
  const networks = useNetworks(cluster.samples.at(-1)?.timeMs ?? 0);
  if (status === undefined) return <p className="empty">Asking the host…</p>;
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
            { head: "Name", cell: (host) => host.name },
            { head: "State", cell: (host) => <State host={host} /> },
            { head: "Storage", cell: ({ storage }) => <Link state={storage} /> },
            { head: "Management", cell: ({ management }) => <Link state={management} /> },
            { head: "Lease", cell: ({ lease }) => lease ?? "–" },
            { head: "Fault domain", cell: ({ faultDomain }) => faultDomain },
            { head: "Attached", cell: (host) => host.attachedCount, isNumber: true },
            { head: "API", cell: ({ apiAddress }) => apiAddress },
          ]}
        />
      </Card>
      <WhatIf hosts={status.hosts} />
    </>
  );
}

function State({ host: { state, reason } }: { host: HostView }): ReactNode {
  return (
    <>
      <Chip tone={hostTones[state]}>{state}</Chip>
      {reason !== undefined && <small className="reason">{reason}</small>}
    </>
  );
}

function Link({ state }: { state: "up" | "down" | undefined }): ReactNode {
  if (state === undefined) return "–";
  return <Chip tone={state === "up" ? "good" : "bad"}>{state}</Chip>;
}
