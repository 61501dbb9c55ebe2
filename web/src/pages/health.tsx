/** Every check of health: what it finds, what it means, what to do, and what it found before. */
import type { ReactNode } from "react";
import type {
  HealthCheckView,
  HealthListView,
  HealthSeverity,
  HealthShowView,
} from "../../../src/host/index.ts";
import { call } from "../api.ts";
import type { PageProps } from "../app.tsx";
import { ago, clockTime } from "../format.ts";
import { Card, Chip, Facts, Table } from "../parts.tsx";
import type { Tone } from "../parts.tsx";
import { href } from "../route.ts";
import { useAnswer } from "../use-answer.ts";
import { Waiting } from "../waiting.tsx";

const tones: Readonly<Record<HealthSeverity, Tone>> = {
  failed: "bad",
  degraded: "warn",
  note: "quiet",
};

export function HealthPage({ cluster, name }: PageProps): ReactNode {
  const version = cluster.samples.at(-1)?.timeMs ?? 0;
  const list = useAnswer(() => call("health.list", {}), version);
  const shown = useAnswer(
    () => (name === undefined ? Promise.resolve(undefined) : call("health.show", { check: name })),
    version,
    name,
  );
  if (name !== undefined) {
    if (shown.value === undefined) return <Waiting refusal={shown.refusal} />;
    return <Check shown={shown.value} nowMs={cluster.nowMs} />;
  }
  if (list.value === undefined) return <Waiting refusal={list.refusal} />;
  return <Checks list={list.value} nowMs={cluster.nowMs} />;
}

function Checks({ list, nowMs }: { list: HealthListView; nowMs: number }): ReactNode {
  const raised = list.checks.filter(({ findings }) => findings.length > 0);
  const quiet = list.checks.filter(({ findings }) => findings.length === 0);
  return (
    <>
      <Card title={raised.length === 0 ? "No check finds anything" : "What checks find"}>
        {raised.map((check) => (
          <Raised key={check.id} check={check} nowMs={nowMs} />
        ))}
      </Card>
      <Card title={`${quiet.length} checks find nothing`}>
        <Table
          label="Checks that find nothing"
          rows={quiet}
          rowKey={({ id }) => id}
          empty="Every check finds something."
          columns={[
            { head: "Check", cell: ({ id }) => <a href={href("health", id)}>{id}</a> },
            { head: "Would mean", cell: ({ meaning }) => meaning },
          ]}
        />
      </Card>
    </>
  );
}

function Raised({ check, nowMs }: { check: HealthCheckView; nowMs: number }): ReactNode {
  return (
    <div className="raised">
      <p>
        <Chip tone={tones[check.severity]}>{check.severity}</Chip>{" "}
        <a href={href("health", check.id)}>{check.id}</a>
      </p>
      <Findings check={check} nowMs={nowMs} />
    </div>
  );
}

function Findings({ check, nowMs }: { check: HealthCheckView; nowMs: number }): ReactNode {
  return (
    <ul className="plain findings">
      {check.findings.map(({ subject, message, action, sinceMs }) => (
        <li key={subject}>
          <strong>{message}</strong>
          {sinceMs !== undefined && <small> {ago(sinceMs, nowMs)}</small>}
          <br />
          What to do: {action}
        </li>
      ))}
    </ul>
  );
}

function Check({ shown, nowMs }: { shown: HealthShowView; nowMs: number }): ReactNode {
  const { check, history } = shown;
  return (
    <>
      <Card title="The check" aside={<Chip tone={tones[check.severity]}>{check.severity}</Chip>}>
        <Facts
          rows={[
            ["What it means when it finds something", check.meaning],
            ["What to do then", check.action],
          ]}
        />
      </Card>
      <Card title={check.findings.length === 0 ? "It finds nothing" : "What it finds"}>
        <Findings check={check} nowMs={nowMs} />
      </Card>
      <Card title="History, as this host saw it">
        {history.length === 0 && <p className="empty">It has found nothing so far.</p>}
        <ol className="history">
          {history.toReversed().map(({ timeMs, change, subject, message }) => (
            <li key={`${timeMs} ${change} ${subject}`}>
              <time dateTime={new Date(timeMs).toISOString()} title={clockTime(timeMs)}>
                {ago(timeMs, nowMs)}
              </time>
              <span>
                <strong>{change}</strong> {message}
              </span>
            </li>
          ))}
        </ol>
      </Card>
    </>
  );
}
