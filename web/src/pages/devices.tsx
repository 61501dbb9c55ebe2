/** The disks of all hosts that answer. */
import type { ReactNode } from "react";
import type { DeviceView } from "../../../src/host/index.ts";
import type { PageProps } from "../app.tsx";
import { bytes, shortId } from "../format.ts";
import { Card, Chip, Facts, Gauge } from "../parts.tsx";

export function DevicesPage({ cluster }: PageProps): ReactNode {
  const devices = cluster.status?.devices;
  if (devices === undefined) return <p className="empty">Asking the host…</p>;
  if (devices.length === 0) {
    return (
      <p className="empty">
        No host gives a device. Add one under “devices” in a host's configuration and start it
        again.
      </p>
    );
  }
  return (
    <div className="grid">
      {devices.map((device) => (
        <Device key={device.deviceId} device={device} />
      ))}
    </div>
  );
}

function Device({ device }: { device: DeviceView }): ReactNode {
  const taken = device.capacityBytes - device.freeBytes;
  const isOnline = device.state === "online";
  return (
    <Card
      title={`${shortId(device.deviceId)} on ${device.host}`}
      aside={<Chip tone={isOnline ? "good" : "bad"}>{device.state}</Chip>}
    >
      {device.reason !== undefined && <p className="fault">{device.reason}</p>}
      <p className="path">{device.path}</p>
      <Gauge
        label={`Space taken of device ${shortId(device.deviceId)}`}
        share={device.capacityBytes === 0 ? 0 : taken / device.capacityBytes}
        text={`${bytes(taken)} of ${bytes(device.capacityBytes)} taken`}
      />
      <Facts
        rows={[
          ["Stored, before deduplication", bytes(device.logicalBytes)],
          ["Distinct content", bytes(device.uniqueBytes)],
          ["Components", device.componentCount],
          ["Checksum errors", faults(device.checksumErrors)],
          ["Read errors", faults(device.readErrors)],
          ["Damaged blocks", faults(device.damagedBlocks)],
          ["I/O through", device.adapter],
        ]}
      />
    </Card>
  );
}

function faults(count: number): ReactNode {
  return count === 0 ? "none" : <Chip tone="bad">{count}</Chip>;
}
