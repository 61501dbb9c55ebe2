/** Who changed what, also what was refused. */
import { useState } from "react";
import type { ReactNode } from "react";
import { call } from "../api.ts";
import type { PageProps } from "../app.tsx";
import { ago, clockTime } from "../format.ts";
import { Card, Chip, Table } from "../parts.tsx";
import type { Tone } from "../parts.tsx";
import { useAnswer } from "../use-answer.ts";
import { Waiting } from "../waiting.tsx";

const ENTRIES_MAX = 500;

function toneOf(outcome: string): Tone {
  if (outcome === "dry-run") return "quiet";
  return outcome === "done" ? "good" : "warn";
}

export function AuditPage({ cluster }: PageProps): ReactNode {
  const [text, setText] = useState("");
  const version = cluster.samples.at(-1)?.timeMs ?? 0;
  const { value, refusal } = useAnswer(
    () => call("audit.list", { limit: ENTRIES_MAX, allHosts: true }),
    version,
  );
  const silent = value?.silentHosts ?? [];
  const wanted = text.toLowerCase();
  const entries = (value?.entries ?? []).filter((one) =>
    `${one.host} ${one.who} ${one.operation} ${one.target} ${one.outcome}`
      .toLowerCase()
      .includes(wanted),
  );
  return (
    <Card title="Who changed what">
      {value === undefined ? (
        <Waiting refusal={refusal} />
      ) : (
        <>
          <div className="filters">
            <label className="field">
              <span>Contains</span>
              <input type="search" value={text} onChange={(event) => setText(event.target.value)} />
            </label>
          </div>
          {silent.length > 0 && (
            <p className="reason">No answer, so nothing of what they know: {silent.join(", ")}</p>
          )}
          <Table
            label="Changes"
            rows={entries.toReversed()}
            rowKey={({ host, sequence }) => `${host} ${sequence}`}
            empty={wanted === "" ? "Nothing was changed yet." : "No entry contains that."}
            columns={[
              {
                head: "When",
                cell: ({ timeMs }) => (
                  <time dateTime={new Date(timeMs).toISOString()} title={clockTime(timeMs)}>
                    {ago(timeMs, cluster.nowMs)}
                  </time>
                ),
              },
              { head: "Who", cell: ({ who, remote }) => <span title={remote}>{who}</span> },
              { head: "Through", cell: ({ host }) => host },
              { head: "What", cell: ({ operation }) => operation },
              { head: "Of what", cell: ({ target }) => (target === "" ? "–" : target) },
              {
                head: "Outcome",
                cell: ({ outcome }) => <Chip tone={toneOf(outcome)}>{outcome}</Chip>,
              },
            ]}
          />
        </>
      )}
    </Card>
  );
}
