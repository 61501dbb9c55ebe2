/** The disks of all hosts that answer. */
import { useState } from "react";
import type { ReactNode } from "react";
import type { DeviceView } from "../../../src/host/index.ts";
import { useActions } from "../actions.tsx";
import { call, Refusal } from "../api.ts";
import type { PageProps } from "../app.tsx";
import { bytes, shortId } from "../format.ts";
import { Card, Chip, Facts, Gauge } from "../parts.tsx";
import { RemoveDeviceDialog } from "../service-plan.tsx";

/** More of them at once would make the page slow. */
const CARDS_SHOWN = 48;

export function DevicesPage({ cluster }: PageProps): ReactNode {
  const [shown, setShown] = useState(CARDS_SHOWN);
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
    <>
      <div className="grid">
        {devices.slice(0, shown).map((device) => (
          <Device key={device.deviceId} device={device} />
        ))}
      </div>
      {devices.length > shown && (
        <div className="buttons left">
          <span role="status">
            {shown} of {devices.length} are shown
          </span>
          <button type="button" onClick={() => setShown(shown + CARDS_SHOWN)}>
            Show more
          </button>
        </div>
      )}
    </>
  );
}

function Device({ device }: { device: DeviceView }): ReactNode {
  const taken = device.capacityBytes - device.freeBytes;
  const isOnline = device.state === "online";
  return (
    <Card
      title={`${shortId(device.deviceId)} on ${device.host}`}
      aside={
        <>
          {device.isLeaving === true && <Chip tone="busy">being removed</Chip>}
          <Chip tone={isOnline ? "good" : "bad"}>{device.state}</Chip>
        </>
      }
    >
      {device.reason !== undefined && <p className="fault">{device.reason}</p>}
      <p className="path">{device.path}</p>
      <Gauge
        label={`Space taken of device ${shortId(device.deviceId)}`}
        share={device.capacityBytes === 0 ? 0 : taken / device.capacityBytes}
        text={`${bytes(taken)} of ${bytes(device.capacityBytes)} taken`}
      />
      {device.scrubShare !== undefined && (
        <Gauge
          label={`Scrub of device ${shortId(device.deviceId)}`}
          share={device.scrubShare}
          text={`Scrub: ${Math.floor(100 * device.scrubShare)} % read`}
          isProgress
        />
      )}
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
      <DeviceButtons device={device} />
    </Card>
  );
}

function DeviceButtons({ device }: { device: DeviceView }): ReactNode {
  const { deviceId } = device;
  const name = shortId(deviceId);
  const { ask } = useActions();
  const [isRemoving, setRemoving] = useState(false);
  const scrub = (): void =>
    ask({
      title: `Read device ${name} through?`,
      text: <p>Every block and record on it is checked. It serves meanwhile, more slowly.</p>,
      verb: "Scrub",
      act: async () => {
        const { problemCount, problems } = await call("device.scrub", { device: deviceId });
        if (problemCount > 0) throw new Refusal("scrub", `It found: ${problems.join(", ")}.`);
      },
      done: `The scrub of device ${name} found nothing wrong.`,
    });
  const keep = (): void =>
    ask({
      title: `Keep device ${name}?`,
      text: <p>It takes part again. What has left it stays where it is.</p>,
      verb: "Keep",
      act: () => call("device.keep", { device: deviceId }),
      done: `Device ${name} is kept.`,
    });
  return (
    <div className="buttons left">
      <button type="button" className="small" aria-label={`Scrub ${name}`} onClick={scrub}>
        Scrub
      </button>
      {device.isLeaving === true ? (
        <button type="button" className="small" aria-label={`Keep ${name}`} onClick={keep}>
          Keep
        </button>
      ) : (
        <button
          type="button"
          className="small danger"
          aria-label={`Remove ${name}`}
          onClick={() => setRemoving(true)}
        >
          Remove
        </button>
      )}
      {isRemoving && <RemoveDeviceDialog device={deviceId} onClose={() => setRemoving(false)} />}
    </div>
  );
}

function faults(count: number): ReactNode {
  return count === 0 ? "none" : <Chip tone="bad">{count}</Chip>;
}
