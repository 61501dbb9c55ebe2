/** Volumes: whether each is whole, where it is attached, and how it is spread. */
import { useState } from "react";
import type { ReactNode } from "react";
import { shellWord } from "../../../src/base/shell-word.ts";
import type { VolumeView } from "../../../src/host/index.ts";
import { useActions } from "../actions.tsx";
import { call } from "../api.ts";
import type { PageProps } from "../app.tsx";
import { hasLists } from "../cluster-store.ts";
import { ChangeDialog } from "../change-volume.tsx";
import { NewVolume } from "../new-volume.tsx";
import { bytes, shortId } from "../format.ts";
import { IoCharts } from "../io-charts.tsx";
import { Card, Chip, CommandLine, Facts, Table } from "../parts.tsx";
import { href } from "../route.ts";
import { CloneDialog } from "../snapshots.tsx";
import { attachmentTones } from "../tones.ts";
import { SnapshotCard } from "./snapshots.tsx";
import { VolumeTree } from "../volume-tree.tsx";
import { Waiting } from "../waiting.tsx";

export function VolumesPage({ cluster, name }: PageProps): ReactNode {
  const { volumes, status, samples } = cluster;
  const [isMaking, setMaking] = useState(false);
  if (status === undefined || !hasLists(cluster)) return <Waiting />;
  if (name !== undefined) {
    const volume = volumes.find((one) => one.name === name);
    if (volume === undefined) return <p className="empty">There is no volume of this name.</p>;
    return (
      <>
        <Volume volume={volume} />
        <SnapshotCard
          title="Snapshots"
          volumes={[name]}
          volume={name}
          nowMs={cluster.nowMs}
          version={samples.at(-1)?.timeMs ?? 0}
        />
        <Card title="What its clients do">
          <IoCharts samples={samples} volume={name} />
        </Card>
      </>
    );
  }
  return (
    <Card
      title="Volumes"
      aside={
        <button type="button" className="primary" onClick={() => setMaking(true)}>
          Create a volume
        </button>
      }
    >
      <VolumeTable volumes={volumes} />
      {isMaking && <NewVolume hostCount={status.hosts.length} onClose={() => setMaking(false)} />}
    </Card>
  );
}

function VolumeTable({ volumes }: { volumes: readonly VolumeView[] }): ReactNode {
  return (
    <Table
      label="Volumes"
      rows={volumes}
      rowKey={(volume) => volume.objectId}
      empty="There is no volume yet."
      find={({ name, owner, attachment }) => `${name} ${owner ?? ""} ${attachment?.host ?? ""}`}
      columns={[
        { head: "Name", cell: ({ name }) => <a href={href("volumes", name)}>{name}</a> },
        { head: "State", cell: (volume) => <Whole volume={volume} /> },
        { head: "Size", cell: ({ sizeBytes }) => bytes(sizeBytes), isNumber: true },
        {
          head: "Stored",
          cell: ({ logicalBytes }) => (logicalBytes === undefined ? "–" : bytes(logicalBytes)),
          isNumber: true,
        },
        {
          head: "Survives",
          cell: ({ failuresToTolerate: count }) =>
            count === 0 ? "no failure" : `${count} host${count === 1 ? "" : "s"}`,
        },
        { head: "Owner", cell: ({ owner }) => owner ?? "none" },
        {
          head: "Attached",
          cell: ({ attachment }) =>
            attachment === undefined ? (
              "no"
            ) : (
              <Chip tone={attachmentTones[attachment.state]}>
                {attachment.state === "online"
                  ? `on ${attachment.host}`
                  : `${attachment.state} on ${attachment.host}`}
              </Chip>
            ),
        },
      ]}
    />
  );
}

function Whole({ volume }: { volume: VolumeView }): ReactNode {
  if (!volume.accessible) return <Chip tone="bad">not accessible</Chip>;
  const { components } = volume;
  const active = components.filter(({ state }) => state === "active").length;
  if (active === components.length) return <Chip tone="good">whole</Chip>;
  const isMending = components.some(({ state }) =>
    ["catching-up", "building", "joining"].includes(state),
  );
  return (
    <Chip tone={isMending ? "busy" : "warn"}>
      {isMending ? "mending" : "degraded"}, {active} of {components.length} active
    </Chip>
  );
}

function Volume({ volume }: { volume: VolumeView }): ReactNode {
  return (
    <>
      <Card title="State" aside={<VolumeButtons volume={volume} />}>
        {volume.reason !== undefined && <p className="fault">{volume.reason}</p>}
        <Facts
          rows={[
            ["State", <Whole volume={volume} />],
            ["Size", bytes(volume.sizeBytes)],
            ["Stored", volume.logicalBytes === undefined ? "–" : bytes(volume.logicalBytes)],
            ["Host failures it survives", volume.failuresToTolerate],
            ["Devices per copy", volume.stripes],
            [
              "Encrypted at rest",
              volume.encryption === undefined
                ? "no"
                : `with the key of domain ${volume.encryption.domain}`,
            ],
            ["Owner", volume.owner ?? "none"],
            ["Generation of the owner", volume.epoch],
            ["Object", shortId(volume.objectId)],
          ]}
        />
      </Card>
      <Card title="How it is spread">
        <VolumeTree volume={volume} />
      </Card>
      <Attachment volume={volume} />
    </>
  );
}

function Attachment({ volume: { name, attachment } }: { volume: VolumeView }): ReactNode {
  if (attachment === undefined)
    return (
      <Card title="Not attached">
        <p>Nobody can use it yet. Offer it over NBD with the button above, or on a host:</p>
        <CommandLine
          line={`drystone volume attach ${shellWord(name)} --nbd ${shellWord(`/run/${name}.sock`)}`}
        />
      </Card>
    );
  return (
    <Card
      title={`Attached on ${attachment.host}`}
      aside={<Chip tone={attachmentTones[attachment.state]}>{attachment.state}</Chip>}
    >
      {attachment.reason !== undefined && <p className="fault">{attachment.reason}</p>}
      <p>Give this to clients on {attachment.host}:</p>
      <CommandLine line={attachment.uri} />
      {attachment.tls ? (
        <CommandLine line={`drystone client create NAME --volume ${shellWord(name)}`} />
      ) : (
        <CommandLine line={`qemu-img info ${shellWord(attachment.uri)}`} />
      )}
      {attachment.vhostUser !== undefined && (
        <>
          <p>
            For a virtual machine over shared memory (
            {attachment.vhostUser.connected ? "connected" : "nobody is connected"}):
          </p>
          <CommandLine line={attachment.vhostUser.qemu} />
        </>
      )}
    </Card>
  );
}

function VolumeButtons({ volume }: { volume: VolumeView }): ReactNode {
  const [open, setOpen] = useState<"clone" | "change">();
  const close = (): void => setOpen(undefined);
  return (
    <div className="buttons">
      {volume.attachment === undefined ? (
        <IdleButtons name={volume.name} />
      ) : (
        <DetachButton name={volume.name} host={volume.attachment.host} />
      )}
      <button type="button" onClick={() => setOpen("change")}>
        Change
      </button>
      <button type="button" onClick={() => setOpen("clone")}>
        Clone
      </button>
      {open === "clone" && <CloneDialog name={volume.name} onClose={close} />}
      {open === "change" && <ChangeDialog volume={volume} onClose={close} />}
    </div>
  );
}

function DetachButton({ name, host }: { name: string; host: string }): ReactNode {
  const { ask } = useActions();
  const detach = (): void =>
    ask({
      title: `Detach ${name}?`,
      text: <p>Its clients on {host} are disconnected; what is written stays.</p>,
      verb: "Detach",
      isDanger: true,
      act: () => call("volume.detach", { name }),
      done: `${name} is detached.`,
    });
  return (
    <button type="button" onClick={detach}>
      Detach
    </button>
  );
}

function IdleButtons({ name }: { name: string }): ReactNode {
  const { ask } = useActions();
  const attach = (): void =>
    ask({
      title: `Attach ${name}?`,
      text: <p>This host offers it over NBD on a socket in its state directory.</p>,
      verb: "Attach",
      act: () => call("volume.attach", { name }),
      done: `${name} is attached.`,
    });
  const drop = (): void =>
    ask({
      title: `Delete ${name}?`,
      text: <p>All its data is gone for ever.</p>,
      verb: "Delete",
      isDanger: true,
      typed: name,
      act: async () => {
        await call("volume.delete", { name });
        window.location.hash = href("volumes");
      },
      done: `${name} is deleted.`,
    });
  return (
    <>
      <button type="button" className="primary" onClick={attach}>
        Attach
      </button>
      <button type="button" className="danger" onClick={drop}>
        Delete
      </button>
    </>
  );
}
