/** The snapshots of all volumes. */
import { useState } from "react";
import type { ReactNode } from "react";
import { call } from "../api.ts";
import type { PageProps } from "../app.tsx";
import { Card } from "../parts.tsx";
import { SnapshotDialog, SnapshotTable } from "../snapshots.tsx";
import { useAnswer } from "../use-answer.ts";
import { Waiting } from "../waiting.tsx";

export function SnapshotsPage({ cluster }: PageProps): ReactNode {
  return (
    <SnapshotCard
      title="Snapshots"
      nowMs={cluster.nowMs}
      volumes={cluster.volumes.map(({ name }) => name)}
      version={cluster.samples.at(-1)?.timeMs ?? 0}
    />
  );
}

/** Of all volumes, or of the one that is named. */
export function SnapshotCard(props: {
  title: string;
  volumes: readonly string[];
  volume?: string;
  nowMs: number;
  version: number;
}): ReactNode {
  const { volume, volumes } = props;
  const [isTaking, setTaking] = useState(false);
  const [changes, setChanges] = useState(0);
  const { value, refusal } = useAnswer(
    () => call("snapshot.list", volume === undefined ? {} : { volume }),
    props.version + changes,
    volume,
  );
  const onChanged = (): void => setChanges((count) => count + 1);
  return (
    <Card
      title={props.title}
      aside={
        <button
          type="button"
          className={volume === undefined ? "primary" : ""}
          disabled={volumes.length === 0}
          onClick={() => setTaking(true)}
        >
          Take a snapshot
        </button>
      }
    >
      {value === undefined ? (
        <Waiting refusal={refusal} />
      ) : (
        <SnapshotTable
          snapshots={value.snapshots}
          nowMs={props.nowMs}
          isOfOne={volume !== undefined}
          onChanged={onChanged}
        />
      )}
      {isTaking && (
        <SnapshotDialog
          volumes={volume === undefined ? volumes : [volume]}
          onClose={() => setTaking(false)}
          onChanged={onChanged}
        />
      )}
    </Card>
  );
}
