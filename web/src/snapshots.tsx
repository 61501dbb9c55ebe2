/** Snapshots of a volume or of all, and what can be done with them. */
import { useState } from "react";
import type { ReactNode } from "react";
import type { SnapshotView } from "../../src/host/api/api-routes.ts";
import { useActions } from "./actions.tsx";
import { call } from "./api.ts";
import { FormDialog, TextField } from "./form-dialog.tsx";
import { ago, bytes, clockTime } from "./format.ts";
import { Chip, Table } from "./parts.tsx";
import type { Column } from "./parts.tsx";
import { href } from "./route.ts";

export function SnapshotTable(props: {
  snapshots: readonly SnapshotView[];
  nowMs: number;
  /** Of one volume: its name need not be said. */
  isOfOne?: boolean;
  onChanged: () => void;
}): ReactNode {
  const { nowMs, onChanged } = props;
  const volume: Column<SnapshotView> = {
    head: "Volume",
    cell: (one) => <a href={href("volumes", one.volume)}>{one.volume}</a>,
  };
  return (
    <Table
      label="Snapshots"
      rows={props.snapshots}
      rowKey={({ objectId }) => objectId}
      find={({ name }) => name.toLowerCase()}
      empty="There is no snapshot yet. Taking one costs no space: only what is written later does."
      columns={[
        { head: "Name", cell: ({ name }) => name },
        ...(props.isOfOne === true ? [] : [volume]),
        {
          head: "Taken",
          cell: ({ createdMs }) => (
            <time dateTime={new Date(createdMs).toISOString()} title={clockTime(createdMs)}>
              {ago(createdMs, nowMs)}
            </time>
          ),
        },
        {
          head: "State",
          cell: ({ accessible, reason }) => (
            <>
              <Chip tone={accessible ? "good" : "bad"}>
                {accessible ? "readable" : "not accessible"}
              </Chip>
              {reason !== undefined && <small className="reason">{reason}</small>}
            </>
          ),
        },
        { head: "Size", cell: ({ sizeBytes }) => bytes(sizeBytes), isNumber: true },
        {
          head: "Deleting frees",
          cell: ({ uniqueBytes }) => (uniqueBytes === undefined ? "–" : bytes(uniqueBytes)),
          isNumber: true,
        },
        {
          head: "Actions",
          cell: (one) => <SnapshotButtons snapshot={one} onChanged={onChanged} />,
        },
      ]}
    />
  );
}

function SnapshotButtons(props: { snapshot: SnapshotView; onChanged: () => void }): ReactNode {
  const { name, volume } = props.snapshot;
  const { ask } = useActions();
  const [isCloning, setCloning] = useState(false);
  const rollBack = (): void =>
    ask({
      title: `Roll ${volume} back?`,
      text: (
        <p>
          {volume} becomes what {name} holds. What was written to it since is gone for ever; all
          snapshots stay. It must not be attached.
        </p>
      ),
      verb: "Roll back",
      isDanger: true,
      typed: volume,
      act: () => call("snapshot.rollback", { name }),
      done: `${volume} is what ${name} holds.`,
    });
  const drop = (): void =>
    ask({
      title: `Delete ${name}?`,
      text: <p>The volume and its other snapshots stay as they are.</p>,
      verb: "Delete",
      isDanger: true,
      act: async () => {
        await call("snapshot.delete", { name });
        props.onChanged();
      },
      done: `${name} is deleted.`,
    });
  return (
    <div className="buttons row">
      <button
        type="button"
        className="small"
        aria-label={`Clone ${name}`}
        onClick={() => setCloning(true)}
      >
        Clone
      </button>
      <button
        type="button"
        className="small"
        aria-label={`Roll back ${volume} to ${name}`}
        onClick={rollBack}
      >
        Roll back
      </button>
      <button type="button" className="small danger" aria-label={`Delete ${name}`} onClick={drop}>
        Delete
      </button>
      {isCloning && <CloneDialog name={name} onClose={() => setCloning(false)} />}
    </div>
  );
}

/** Of a volume as it is now, or of a snapshot. */
export function CloneDialog({ name, onClose }: { name: string; onClose: () => void }): ReactNode {
  const [clone, setClone] = useState("");
  return (
    <FormDialog
      title={`Clone ${name}`}
      verb="Clone"
      onClose={onClose}
      act={async () => {
        await call("volume.clone", { name, clone });
        window.location.hash = href("volumes", clone);
        return `${clone} is a clone of ${name}.`;
      }}
    >
      <p>The clone shares what both hold, and takes space only for what is written later.</p>
      <TextField label="Name of the new volume" value={clone} onChange={setClone} />
    </FormDialog>
  );
}

export function SnapshotDialog(props: {
  /** The first is chosen. */
  volumes: readonly string[];
  onClose: () => void;
  onChanged: () => void;
}): ReactNode {
  const [volume, setVolume] = useState(props.volumes[0] ?? "");
  const [name, setName] = useState("");
  return (
    <FormDialog
      title="Take a snapshot"
      verb="Take it"
      onClose={props.onClose}
      act={async () => {
        await call("snapshot.create", { name: `${volume}@${name}` });
        props.onChanged();
        return `${volume}@${name} is taken.`;
      }}
    >
      <p>It is taken at once, while clients go on.</p>
      {props.volumes.length > 1 && (
        <label className="field">
          <span>Volume</span>
          <select value={volume} onChange={(event) => setVolume(event.target.value)}>
            {props.volumes.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
      )}
      <TextField
        label="Name of the snapshot"
        hint="such as monday"
        value={name}
        onChange={setName}
      />
    </FormDialog>
  );
}
