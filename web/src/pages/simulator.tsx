/** A cluster in this browser: Drystone's own code in virtual time, from a seed that can be shared. */
import { useCallback, useEffect, useMemo, useState } from "react";
import type { ReactNode } from "react";
import type { PageProps } from "../app.tsx";
import { Card, Chip, CommandLine, Facts } from "../parts.tsx";
import { href } from "../route.ts";
import { DrillPage } from "../simulator/drill-page.tsx";
import { readDrill } from "../simulator/drill-link.ts";
import { DrillStart } from "../simulator/drill-start.tsx";
import { Log } from "../simulator/story-log.tsx";
import { Timeline } from "../simulator/timeline.tsx";
import { faultSpans, momentAt } from "../simulator/trial-story.ts";
import type { HostMoment, Moment } from "../simulator/trial-story.ts";
import { useTrial } from "../simulator/use-trial.ts";
import type { TrialState } from "../simulator/use-trial.ts";
import type { TrialRequest } from "../simulator/trial-run.ts";
import { clock, rules } from "../simulator/words.ts";

const SEED_DEFAULT = 7;
const SEED_MAX = 2 ** 32 - 1;

/** "17" or "17 no-fencing": what a shared link says. */
function requestOf(name: string | undefined): TrialRequest | undefined {
  if (name === undefined) return undefined;
  const [seed = "", without = ""] = name.split(" ");
  if (!/^\d{1,10}$/.test(seed) || Number(seed) > SEED_MAX) return undefined;
  return { seed: Number(seed), without: rules.some(([rule]) => rule === without) ? without : "" };
}

function linkOf({ seed, without }: TrialRequest): string {
  return href("simulator", without === "" ? `${seed}` : `${seed} ${without}`);
}

export function SimulatorPage({ name }: PageProps): ReactNode {
  const drill = useMemo(() => readDrill(name), [name]);
  if (drill !== undefined) return <DrillPage spec={drill} />;
  return (
    <>
      <DrillStart />
      <TrialOfSeed name={name} />
    </>
  );
}

function TrialOfSeed({ name }: { name: string | undefined }): ReactNode {
  const [state, start, stop] = useTrial();
  const wanted = useMemo(() => requestOf(name), [name]);
  useEffect(() => {
    if (wanted !== undefined) start(wanted);
    // `start` is another function each time and does the same.
  }, [wanted]);
  return (
    <>
      <Card title="Or let a seed decide what goes wrong">
        <p>
          As in our tests: a seed decides how many hosts there are, what clients do and what goes
          wrong; the same seed takes the same way every time. At the end it is checked that no
          answer that clients were given was untrue.
        </p>
        <Choice key={name} wanted={wanted} state={state} onStop={stop} />
      </Card>
      {state.reason !== undefined && <p className="fault">{state.reason}</p>}
      {state.report !== undefined && <Story key={name} state={state} />}
    </>
  );
}

function Choice(props: {
  wanted: TrialRequest | undefined;
  state: TrialState;
  onStop: () => void;
}): ReactNode {
  const { wanted, state } = props;
  const [seed, setSeed] = useState(String(wanted?.seed ?? SEED_DEFAULT));
  const [without, setWithout] = useState(wanted?.without ?? "");
  const go = (text: string): void => {
    const request = requestOf(without === "" ? text : `${text} ${without}`);
    if (request !== undefined) window.location.hash = linkOf(request);
  };
  const another = (): void => {
    const [value = 1] = crypto.getRandomValues(new Uint16Array(1));
    go(String(value));
  };
  return (
    <form
      className="filters"
      onSubmit={(event) => {
        event.preventDefault();
        go(seed.trim());
      }}
    >
      <label className="field">
        <span>Seed</span>
        <input
          inputMode="numeric"
          pattern="[0-9]{1,10}"
          required
          value={seed}
          onChange={(event) => setSeed(event.target.value)}
        />
      </label>
      <label className="field wide">
        <span>Leave out a rule of safety, to see that it is missed</span>
        <select value={without} onChange={(event) => setWithout(event.target.value)}>
          {rules.map(([rule, sentence]) => (
            <option key={rule} value={rule}>
              {sentence}
            </option>
          ))}
        </select>
      </label>
      <div className="buttons end">
        <button type="submit" className="primary">
          Run
        </button>
        <button type="button" onClick={another}>
          Another seed
        </button>
        {state.isRunning && (
          <button type="button" onClick={props.onStop}>
            Stop
          </button>
        )}
      </div>
      <p role="status" className="wide">
        {state.isRunning
          ? `Running; ${state.lines.length.toLocaleString("en")} things have happened`
          : ""}
      </p>
    </form>
  );
}

function Story({ state }: { state: TrialState }): ReactNode {
  const { lines, report, realMs } = state;
  const without = state.request?.without ?? "";
  const endMs = Math.max(report?.virtualMs ?? 0, lines.at(-1)?.timeMs ?? 0);
  const failedMs = report?.failure?.atMs;
  const [atMs, setAtMs] = useState(failedMs ?? endMs);
  const setAt = useCallback((update: (atMs: number) => number) => setAtMs(update), []);
  const spans = useMemo(() => faultSpans(lines, endMs), [lines, endMs]);
  const moment = useMemo(() => momentAt(lines, spans, atMs), [lines, spans, atMs]);
  if (report === undefined) return null;
  return (
    <>
      <Card title="What came of it">
        <p role="status">
          {report.failure === undefined ? (
            <Chip tone="good">No promise was broken</Chip>
          ) : (
            <>
              <Chip tone="bad">{report.failure.kind}</Chip> at {clock(report.failure.atMs)}:{" "}
              {report.failure.what.split("\n")[0]}
            </>
          )}
        </p>
        <Facts
          rows={[
            ["Hosts", moment.hosts.length],
            ["Time of the cluster", clock(report.virtualMs)],
            ["Time here", clock(realMs)],
            ["Faster than real", `${Math.round(report.virtualMs / Math.max(1, realMs))} ×`],
            ["Requests checked", report.requests.toLocaleString("en")],
            ["Things that went wrong", spans.length],
            ["Fingerprint of its way", report.digest.toString(16).padStart(8, "0")],
          ]}
        />
      </Card>
      <Card title="Drag time, and watch">
        <Timeline endMs={endMs} atMs={atMs} setAt={setAt} spans={spans} />
        <Scene moment={moment} />
        <Log lines={lines} atMs={atMs} />
      </Card>
      <Card title="Share it">
        <CommandLine line={window.location.href} />
        {without === "" && <CommandLine line={`npm run trial -- --seed ${report.seed}`} />}
      </Card>
    </>
  );
}

const hostTones = { up: "good", starting: "busy", off: "bad" } as const;

function Scene({ moment }: { moment: Moment }): ReactNode {
  return (
    <>
      <ul className="plain map-hosts">
        {moment.hosts.map((host) => (
          <SimHost key={host.name} host={host} />
        ))}
        <li>
          <span className={moment.isDirectoryUp ? "box" : "box silent"}>
            <strong>directory</strong>
            <Chip tone={moment.isDirectoryUp ? "good" : "bad"}>
              {moment.isDirectoryUp ? "up" : "off"}
            </Chip>
          </span>
        </li>
      </ul>
      <p>
        <strong>Wrong now:</strong>{" "}
        {moment.faults.length === 0 ? "nothing" : moment.faults.join("; ")}
      </p>
    </>
  );
}

function SimHost({ host }: { host: HostMoment }): ReactNode {
  const { name, state, owns, hasLease } = host;
  return (
    <li>
      <span className={state === "off" ? "box silent" : "box"}>
        <strong>{name}</strong>
        <Chip tone={hostTones[state]}>{state}</Chip>
        <small>{hasLease ? "has its lease" : "no lease"}</small>
        <small>{owns.length === 0 ? "owns nothing" : `owns ${owns.join(", ")}`}</small>
      </span>
    </li>
  );
}
