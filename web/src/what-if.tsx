/** What would happen if a host failed now, as the rules that would decide say it. */
import { useState } from "react";
import type { ReactNode } from "react";
import type { HostView, WhatIfMachine, WhatIfView } from "../../src/host/index.ts";
import { textOf } from "./actions.tsx";
import { call } from "./api.ts";
import { bytes } from "./format.ts";
import { Card, Chip, Table } from "./parts.tsx";
import type { Tone } from "./parts.tsx";

type Answer = WhatIfView | { readonly refused: string };

export function WhatIf({ hosts }: { hosts: readonly HostView[] }): ReactNode {
  const [answer, setAnswer] = useState<Answer>();
  const ask = (name: string): void => {
    call("whatif.fail", { name }).then(setAnswer, (error: unknown) => {
      setAnswer({ refused: textOf(error) });
    });
  };
  return (
    <Card title="What if a host failed now?">
      <p>Nothing is changed: the rules that would decide are asked.</p>
      <p className="actions">
        {hosts.map(({ hostId, name }) => (
          <button key={hostId} type="button" onClick={() => ask(name)}>
            If {name} failed
          </button>
        ))}
      </p>
      <div aria-live="polite">{answer !== undefined && <Foreseen answer={answer} />}</div>
    </Card>
  );
}

function Foreseen({ answer }: { answer: Answer }): ReactNode {
  if ("refused" in answer) return <p className="reason">{answer.refused}</p>;
  const { host, machines, unusable, atRisk, rebuilds, bytesAtMost } = answer;
  return (
    <>
      <Table
        label={`Machines if ${host} failed`}
        rows={machines}
        rowKey={({ name }) => name}
        empty={`No machine would notice that ${host} is gone.`}
        columns={[
          { head: "Machine", cell: ({ name }) => name },
          { head: "Then", cell: (machine) => <Fate machine={machine} /> },
          { head: "Why", cell: ({ because }) => because },
        ]}
      />
      <ul>
        {unusable.map((name) => (
          <li key={name}>
            <Chip tone="bad">{name}</Chip> cannot be used until {host} is back
          </li>
        ))}
        {atRisk.map((name) => (
          <li key={name}>
            <Chip tone="warn">{name}</Chip> goes on, and survives no further failure
          </li>
        ))}
        {rebuilds.length > 0 && (
          <li>
            {rebuilds.length} copies are made anew if it stays away for{" "}
            {answer.rebuildAfterSeconds / 60} minutes, {bytes(bytesAtMost)} at most
          </li>
        )}
      </ul>
    </>
  );
}

const TONES: Readonly<Record<WhatIfMachine["outcome"], Tone>> = {
  restarts: "good",
  waits: "warn",
  "stays-down": "bad",
};

function Fate({ machine }: { machine: WhatIfMachine }): ReactNode {
  const { outcome, host, afterSeconds = 0 } = machine;
  const words = { waits: "waits", "stays-down": "stays down" };
  const text =
    outcome === "restarts" ? `runs on ${host} after ${afterSeconds.toFixed(1)} s` : words[outcome];
  return <Chip tone={TONES[outcome]}>{text}</Chip>;
}
