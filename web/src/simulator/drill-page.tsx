/** A drill: time is dragged, things are done to hosts, and it is run anew from its beginning. */
import { useCallback, useMemo, useState } from "react";
import type { ReactNode } from "react";
import type { DrillAction, DrillActionKind } from "../../../src/trial/index.ts";
import { Card, Chip, CommandLine, Facts } from "../parts.tsx";
import { href } from "../route.ts";
import { layoutOf, nameOfDrill } from "./drill-link.ts";
import type { DrillSpec } from "./drill-link.ts";
import { Foreseen } from "./drill-foreseen.tsx";
import { DrillScene, DrillVolumes } from "./drill-scene.tsx";
import { actionWords, spansOf } from "./drill-words.ts";
import { Log } from "./story-log.tsx";
import { Timeline } from "./timeline.tsx";
import { useDrill } from "./use-drill.ts";
import type { DrillResult } from "./use-drill.ts";
import { clock } from "./words.ts";

const STEP_MS = 250;

type Asked = { readonly atMs: number; readonly host: number };

function change(spec: DrillSpec, script: readonly DrillAction[]): void {
  const sorted = script.toSorted((a, b) => a.atMs - b.atMs);
  window.location.hash = href("simulator", nameOfDrill({ ...spec, script: sorted }));
}

export function DrillPage({ spec }: { spec: DrillSpec }): ReactNode {
  const layout = useMemo(() => layoutOf(spec), [spec]);
  const [asked, setAsked] = useState<Asked>();
  const [atMs, setAtMs] = useState(0);
  const setAt = useCallback((update: (atMs: number) => number) => setAtMs(update), []);
  const { seed, script, lengthMs } = spec;
  const { isRunning, result, reason } = useDrill({
    ...{ seed, layout, script, lengthMs },
    ...(asked === undefined ? {} : { whatIf: asked }),
  });
  const names = layout.hosts.map(({ name }) => name);
  const spans = useMemo(() => spansOf(script, names), [spec]);
  const nowMs = Math.floor(Math.min(atMs, lengthMs) / STEP_MS) * STEP_MS;
  const moment = result?.report.moments.findLast((one) => one.atMs <= nowMs);
  const act = (host: number, kind: DrillActionKind): void => {
    change(spec, [...script, { atMs: nowMs, kind, host }]);
    // The moment after is where something is seen of it.
    setAtMs(nowMs + STEP_MS);
  };
  return (
    <>
      <Card title="Drag time, and do something" aside={<Again spec={spec} />}>
        <p role="status" className="drill-status">
          <Outcome isRunning={isRunning} result={result} reason={reason} />
        </p>
        <Timeline endMs={lengthMs} atMs={Math.min(atMs, lengthMs)} setAt={setAt} spans={spans} />
        {moment !== undefined && (
          <DrillScene
            layout={layout}
            moment={moment}
            onAct={act}
            onAsk={(host) => setAsked({ atMs: nowMs, host })}
          />
        )}
      </Card>
      {result?.report.foreseen !== undefined && asked !== undefined && (
        <Card title={`What if ${names[asked.host]} failed at ${clock(asked.atMs)}?`}>
          <Foreseen
            foreseen={result.report.foreseen}
            runs={isTried(script, asked) ? result.report.runs : undefined}
            onTry={() => change(spec, [...script, { ...asked, kind: "cut-power" }])}
          />
        </Card>
      )}
      <Script spec={spec} names={names} />
      {moment !== undefined && (
        <Card title={`Volumes at ${clock(nowMs)}`}>
          <DrillVolumes layout={layout} moment={moment} />
        </Card>
      )}
      {result !== undefined && (
        <Card title="What happened until then">
          <Log lines={result.lines} atMs={nowMs + 1} />
        </Card>
      )}
      <Card title="Share it">
        <p>The seed, the cluster and what is done to it are in the link.</p>
        <CommandLine line={window.location.href} />
      </Card>
    </>
  );
}

function isTried(script: readonly DrillAction[], { atMs, host }: Asked): boolean {
  return script.some((one) => one.kind === "cut-power" && one.host === host && one.atMs === atMs);
}

function Outcome(props: {
  isRunning: boolean;
  result: DrillResult | undefined;
  reason: string | undefined;
}): ReactNode {
  const { isRunning, result, reason } = props;
  if (reason !== undefined) return <Chip tone="bad">{reason}</Chip>;
  if (isRunning) return <Chip tone="busy">running it from the beginning</Chip>;
  if (result === undefined) return null;
  const { report, realMs } = result;
  const { failure, simulatedMs, requests, digest } = report;
  const speed = Math.round(simulatedMs / Math.max(1, realMs));
  return (
    <>
      {failure === undefined ? (
        <Chip tone="good">No promise was broken</Chip>
      ) : (
        <Chip tone="bad">
          {failure.kind}: {failure.what.split("\n")[0]}
        </Chip>
      )}{" "}
      {requests.toLocaleString("en")} writes of machines, {speed} × real time, fingerprint{" "}
      {digest.toString(16).padStart(8, "0")}
    </>
  );
}

/** With another seed or length, or from the beginning. */
function Again({ spec }: { spec: DrillSpec }): ReactNode {
  const go = (changed: Partial<DrillSpec>): void => {
    window.location.hash = href("simulator", nameOfDrill({ ...spec, ...changed }));
  };
  return (
    <div className="buttons">
      <button type="button" className="small" onClick={() => go({ seed: spec.seed + 1 })}>
        Another seed
      </button>
      <button
        type="button"
        className="small"
        disabled={spec.lengthMs > 300_000}
        onClick={() => go({ lengthMs: spec.lengthMs * 2 })}
      >
        Twice as long
      </button>
      <a href={href("simulator")}>Another cluster</a>
    </div>
  );
}

function Script({ spec, names }: { spec: DrillSpec; names: readonly string[] }): ReactNode {
  const { script, seed, lengthMs } = spec;
  return (
    <Card title="What is done, and when">
      <Facts
        rows={[
          ["Seed", seed],
          ["Length", clock(lengthMs)],
          ["Things done", script.length],
        ]}
      />
      {script.length === 0 && (
        <p className="empty">Nothing yet. Choose a moment above, and what is done to a host.</p>
      )}
      <ul className="plain drill-script">
        {script.map((action, index) => (
          <li key={`${action.atMs} ${action.kind} ${action.host} ${index}`}>
            <span className="moment">{clock(action.atMs)}</span>
            <span>
              {names[action.host]}: {actionWords[action.kind]}
            </span>
            <button
              type="button"
              className="small"
              aria-label={`Take back: ${names[action.host]}, ${actionWords[action.kind]}`}
              onClick={() => change(spec, script.toSpliced(index, 1))}
            >
              Take back
            </button>
          </li>
        ))}
      </ul>
    </Card>
  );
}
