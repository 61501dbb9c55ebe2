/** Taking a host or a device out: first what would happen is shown, then it may be done. */
import { useEffect, useState } from "react";
import type { ReactNode } from "react";
import type { ServicePlanView } from "../../src/host/api/api-routes.ts";
import { textOf } from "./actions.tsx";
import { call } from "./api.ts";
import { FormDialog, RadioField } from "./form-dialog.tsx";
import { bytes, duration, plural, shortId } from "./format.ts";
import { Chip, Facts } from "./parts.tsx";

type Mode = ServicePlanView["mode"];

const MODES: readonly (readonly [Mode, string, string])[] = [
  [
    "ensure-accessibility",
    "Keep everything usable",
    "Only what a volume cannot do without leaves. For a short while, such as a restart.",
  ],
  ["evacuate", "Move everything away", "Every copy is made elsewhere. For good, or for long."],
  ["none", "Move nothing", "Volumes that need the host cannot be used while it is away."],
];

export const modeWords: Readonly<Record<Mode, string>> = {
  "ensure-accessibility": "what is needed leaves",
  evacuate: "everything leaves",
  none: "nothing leaves",
};

type Plan = ServicePlanView | { readonly refused: string };

/** Asked for anew when `subject` changes. */
function usePlan(ask: () => Promise<ServicePlanView>, subject: string): Plan | undefined {
  const [plan, setPlan] = useState<{ readonly subject: string; readonly plan: Plan }>();
  useEffect(() => {
    let isGone = false;
    const take = (found: Plan): void => {
      if (!isGone) setPlan({ subject, plan: found });
    };
    ask().then(take, (error: unknown) => take({ refused: textOf(error) }));
    return () => {
      isGone = true;
    };
    // `ask` is another function each time; what it asks changes with this.
  }, [subject]);
  return plan?.subject === subject ? plan.plan : undefined;
}

export function MaintenanceDialog({
  host,
  onClose,
}: {
  host: string;
  onClose: () => void;
}): ReactNode {
  const [mode, setMode] = useState<Mode>("ensure-accessibility");
  const plan = usePlan(() => call("host.maintenance-on", { name: host, mode, dryRun: true }), mode);
  return (
    <FormDialog
      title={`Maintenance of ${host}`}
      verb="Begin maintenance"
      isDanger
      isReady={plan !== undefined && !("refused" in plan)}
      onClose={onClose}
      act={async () => {
        const { isReady } = await call("host.maintenance-on", { name: host, mode });
        return isReady
          ? `${host} is in maintenance and may be stopped.`
          : `${host} is in maintenance; wait until what moves has left it.`;
      }}
    >
      <RadioField
        legend="What has to leave it first"
        value={mode}
        choices={MODES}
        onChange={setMode}
      />
      <Foreseen plan={plan} />
    </FormDialog>
  );
}

export function RemoveDeviceDialog(props: { device: string; onClose: () => void }): ReactNode {
  const { device } = props;
  const plan = usePlan(() => call("device.remove", { device, dryRun: true }), device);
  return (
    <FormDialog
      title={`Remove device ${shortId(device)}`}
      verb="Move everything off it"
      isDanger
      isReady={plan !== undefined && !("refused" in plan)}
      onClose={props.onClose}
      act={async () => {
        const { isReady } = await call("device.remove", { device });
        return isReady
          ? `Device ${shortId(device)} may be taken out.`
          : `What is on device ${shortId(device)} is being moved.`;
      }}
    >
      <Foreseen plan={plan} />
    </FormDialog>
  );
}

function Foreseen({ plan }: { plan: Plan | undefined }): ReactNode {
  return (
    <div className="foreseen" aria-live="polite">
      {plan === undefined ? (
        <p>Asking what would happen…</p>
      ) : "refused" in plan ? (
        <p className="fault">{plan.refused}</p>
      ) : (
        <PlanFacts plan={plan} />
      )}
    </div>
  );
}

function timeOf(bytesAtMost: number, secondsAtMost: number | undefined): string {
  if (secondsAtMost !== undefined) return duration(secondsAtMost * 1000);
  return bytesAtMost === 0 ? "none" : "not known yet";
}

function PlanFacts({ plan }: { plan: ServicePlanView }): ReactNode {
  const { components, bytesAtMost, secondsAtMost, unusable, atRisk, isReady } = plan;
  const count = (what: string): number => components.filter((one) => one.what === what).length;
  const stuck = components.filter(({ what }) => what === "stuck");
  return (
    <>
      <p>
        <strong>What would happen</strong>, if you go on:
      </p>
      <Facts
        rows={[
          ["Copies that move", count("moves")],
          ["Copies that stay", count("stays")],
          ["To be sent at most", bytes(bytesAtMost)],
          ["Time at most", timeOf(bytesAtMost, secondsAtMost)],
        ]}
      />
      {plan.refusal !== undefined && <p className="fault">It would be refused: {plan.refusal}</p>}
      {isReady && <Chip tone="good">nothing has to leave: it may be stopped at once</Chip>}
      <Named tone="bad" names={stuck.map(({ volume }) => volume)}>
        has a copy with nowhere to go
      </Named>
      <Named tone="bad" names={unusable}>
        cannot be used while it is away
      </Named>
      <Named tone="warn" names={atRisk}>
        survives no further failure while it is away
      </Named>
    </>
  );
}

const NAMES_SHOWN = 5;

function Named(props: {
  tone: "warn" | "bad";
  names: readonly string[];
  children: ReactNode;
}): ReactNode {
  const names = [...new Set(props.names)];
  if (names.length === 0) return null;
  return (
    <ul className="plain findings">
      {names.slice(0, NAMES_SHOWN).map((name) => (
        <li key={name}>
          <Chip tone={props.tone}>{name}</Chip> {props.children}
        </li>
      ))}
      {names.length > NAMES_SHOWN && (
        <li>The same is so for {plural(names.length - NAMES_SHOWN, "other volume")}.</li>
      )}
    </ul>
  );
}
