/** What is being repaired, moved or caught up, how far it has come, and how long it will take. */
import type { ReactNode } from "react";
import type { ResyncView } from "../../src/host/api/api-routes.ts";
import { bytes, duration } from "./format.ts";
import { Card, Chip, Gauge, Table } from "./parts.tsx";
import type { Tone } from "./parts.tsx";
import { href } from "./route.ts";

const tones: Readonly<Record<ResyncView["state"], Tone>> = {
  running: "busy",
  waiting: "quiet",
  blocked: "bad",
};

const words: Readonly<Record<ResyncView["kind"], string>> = {
  rebuild: "made anew",
  move: "moved",
  "catch-up": "catches up",
  "policy-change": "made for another policy",
};

export function Resyncs({ resyncs }: { resyncs: readonly ResyncView[] }): ReactNode {
  if (resyncs.length === 0) return null;
  return (
    <Card title="Being repaired">
      <Table
        label="Being repaired"
        rows={resyncs}
        rowKey={({ componentId, kind }) => `${componentId} ${kind}`}
        empty="Nothing."
        columns={[
          { head: "Volume", cell: ({ volume }) => <a href={href("volumes", volume)}>{volume}</a> },
          {
            head: "What",
            cell: ({ kind, host, from }) =>
              `${words[kind]} on ${host}${from === undefined ? "" : `, for the one on ${from}`}`,
          },
          {
            head: "State",
            cell: ({ state, reason }) => (
              <>
                <Chip tone={tones[state]}>{state}</Chip>
                {reason !== undefined && <small className="reason">{reason}</small>}
              </>
            ),
          },
          { head: "Progress", cell: (resync) => <Progress resync={resync} /> },
          {
            head: "Left",
            cell: ({ secondsLeft }) =>
              secondsLeft === undefined ? "–" : duration(secondsLeft * 1000),
            isNumber: true,
          },
        ]}
      />
    </Card>
  );
}

function Progress({ resync }: { resync: ResyncView }): ReactNode {
  const { volume, share, bytesSent, bytesSkipped } = resync;
  const text = `${bytes(bytesSent)} sent, ${bytes(bytesSkipped)} there already`;
  if (share === undefined) return text;
  return <Gauge label={`Repair of ${volume}`} share={share} text={text} isProgress />;
}
