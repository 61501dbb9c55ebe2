/** Is everything all right, and if not: what is wrong and what to do. */
import type { ReactNode } from "react";
import type { PageProps } from "../app.tsx";
import type { StatusView } from "../../../src/host/index.ts";
import { IoCharts } from "../io-charts.tsx";
import { EventList } from "../event-list.tsx";
import { bytes, digits, duration, plural } from "../format.ts";
import { Card, Chip, Facts, Gauge } from "../parts.tsx";
import { Resyncs } from "../resyncs.tsx";
import { href } from "../route.ts";
import { healthTones } from "../tones.ts";
import { hasLists } from "../cluster-store.ts";
import type { ClusterState } from "../cluster-store.ts";

export function OverviewPage({ cluster }: PageProps): ReactNode {
  const { status } = cluster;
  if (status === undefined) return <p className="empty">Asking the host…</p>;
  return (
    <>
      <Health cluster={cluster} />
      <div className="tiles">
        <Tile page="hosts" title="Hosts" cluster={cluster} />
        <Tile page="volumes" title="Volumes" cluster={cluster} />
        <Tile page="vms" title="Machines" cluster={cluster} />
        <Tile page="devices" title="Devices" cluster={cluster} />
      </div>
      <Resyncs resyncs={cluster.resyncs} />
      <Card title="What clients do">
        <IoCharts samples={cluster.samples} />
      </Card>
      <div className="columns">
        <Capacity cluster={cluster} />
        <Card title="Newest events" aside={<a href={href("events")}>All events</a>}>
          <EventList events={cluster.events.slice(0, 8)} nowMs={cluster.nowMs} />
        </Card>
      </div>
    </>
  );
}

/** As many as one looks at; the page of health has all. */
const OF_A_KIND_MAX = 5;

const sentences = {
  healthy: "Everything is all right.",
  degraded: "Data is served; something needs your attention.",
  failed: "Something is not served.",
} as const;

function Health({ cluster }: { cluster: ClusterState }): ReactNode {
  const { status } = cluster;
  if (status === undefined) return null;
  const { health, reasons } = status;
  const shown = firstOfEachKind(reasons);
  return (
    <section className={`health ${healthTones[health]}`} aria-label="Health">
      <p className="word" role="status">
        <Chip tone={healthTones[health]}>{health}</Chip>
        <span>{sentences[health]}</span>
        <a href={href("health")}>All checks</a>
      </p>
      {reasons.length > 0 && (
        <ul>
          {shown.map(({ code, message, action }) => (
            <li key={`${code} ${message}`}>
              <strong>{message}</strong>
              <span className="action">What to do: {action}</span>
            </li>
          ))}
          {shown.length < reasons.length && (
            <li>
              <a href={href("health")}>And {reasons.length - shown.length} more</a>
            </li>
          )}
        </ul>
      )}
    </section>
  );
}

function firstOfEachKind(reasons: StatusView["reasons"]): StatusView["reasons"] {
  const counts = new Map<string, number>();
  return reasons.filter(({ code }) => {
    const count = (counts.get(code) ?? 0) + 1;
    counts.set(code, count);
    return count <= OF_A_KIND_MAX;
  });
}

type TilePage = "hosts" | "volumes" | "vms" | "devices";

function Tile(props: { page: TilePage; title: string; cluster: ClusterState }): ReactNode {
  const [count, note, isBad] = tileOf(props.page, props.cluster);
  return (
    <a className="tile" href={href(props.page)}>
      <span>{props.title}</span>
      <strong>{count?.toLocaleString("en") ?? "…"}</strong>
      <small className={isBad ? "bad" : undefined}>{note}</small>
    </a>
  );
}

function tileOf(page: TilePage, cluster: ClusterState): [number | undefined, string, boolean] {
  const { status, volumes, vms } = cluster;
  const count = <T,>(all: readonly T[], test: (one: T) => boolean): number =>
    all.filter(test).length;
  if (page === "hosts") {
    const hosts = status?.hosts ?? [];
    const lost = count(hosts, ({ state }) => state !== "up");
    return [hosts.length, lost === 0 ? "all reached" : `${lost} not reached`, lost > 0];
  }
  if (page === "devices") {
    const devices = status?.devices ?? [];
    const failed = count(devices, ({ state }) => state !== "online");
    return [devices.length, failed === 0 ? "all serve" : `${failed} failed`, failed > 0];
  }
  if (!hasLists(cluster)) return [undefined, "asking the host", false];
  if (page === "vms") {
    const running = count(vms, ({ state }) => state === "running");
    const waiting = count(vms, ({ state }) => state === "waiting");
    return [vms.length, waiting > 0 ? `${waiting} waiting` : `${running} running`, waiting > 0];
  }
  const weak = count(volumes, ({ components, accessible }) => {
    return !accessible || components.some(({ state }) => state !== "active");
  });
  return [volumes.length, weak === 0 ? "all whole" : `${weak} not whole`, weak > 0];
}

function Capacity({ cluster }: { cluster: ClusterState }): ReactNode {
  const { status, stats } = cluster;
  if (status === undefined || stats === undefined) return null;
  const { capacityBytes, freeBytes } = stats;
  const taken = capacityBytes - freeBytes;
  const share = capacityBytes === 0 ? 0 : taken / capacityBytes;
  return (
    <Card title="Capacity">
      <Gauge
        label="Space taken"
        share={share}
        text={`${bytes(taken)} of ${bytes(capacityBytes)} taken, ${bytes(freeBytes)} free`}
      />
      <Facts
        rows={[
          ["Stored by clients", bytes(stats.logicalBytes)],
          ["Distinct content", bytes(stats.uniqueBytes)],
          ["Deduplication", `${digits(stats.dedupRatio)} : 1`],
          ["Given back by the next reclaim", bytes(stats.reclaimableBytes)],
          ["Sent to catch up", `${bytes(stats.catchUp.bytesSent)}`],
          ["Sent to rebuild", `${bytes(stats.rebuild.bytesSent)}`],
          ["This host runs for", duration(status.uptimeMs)],
          ["Attached", plural(status.attachments.length, "volume")],
        ]}
      />
    </Card>
  );
}
