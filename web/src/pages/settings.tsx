/** What holds for the whole cluster and can be changed while it runs. */
import { useState } from "react";
import type { ReactNode } from "react";
import type { HaView, SettingsView } from "../../../src/host/api/api-routes.ts";
import { textOf, useActions } from "../actions.tsx";
import { call } from "../api.ts";
import type { PageProps } from "../app.tsx";
import { ChoiceField } from "../form-dialog.tsx";
import { clockTime } from "../format.ts";
import { Card, Chip, Facts } from "../parts.tsx";
import { useAnswer } from "../use-answer.ts";
import { Waiting } from "../waiting.tsx";

export function SettingsPage({ cluster }: PageProps): ReactNode {
  const [changes, setChanges] = useState(0);
  const version = (cluster.samples.at(-1)?.timeMs ?? 0) + changes;
  const settings = useAnswer(() => call("settings.show", {}), version);
  const ha = useAnswer(() => call("ha.show", {}), version);
  const onChanged = (): void => setChanges((count) => count + 1);
  return (
    <>
      <Card title="Repairs and checks of what is stored">
        {settings.value === undefined ? (
          <Waiting refusal={settings.refusal} />
        ) : (
          <RepairForm
            key={JSON.stringify(settings.value)}
            settings={settings.value}
            onChanged={onChanged}
          />
        )}
      </Card>
      <Card
        title="High availability of machines"
        aside={ha.value !== undefined && <ArmButton ha={ha.value} onChanged={onChanged} />}
      >
        {ha.value === undefined ? (
          <Waiting refusal={ha.refusal} />
        ) : (
          <HaForm key={haKey(ha.value)} ha={ha.value} onChanged={onChanged} />
        )}
      </Card>
      <CertificateCard version={version} />
    </>
  );
}

type NumberName = Exclude<keyof SettingsView, "fingerprints">;

const NUMBERS: readonly (readonly [NumberName, string, string])[] = [
  ["repairDelaySeconds", "Wait for a host or device that is away", "seconds, before a repair"],
  ["rebuildsAtOnce", "Copies made anew at a time", "0: none"],
  ["rebuildsPerDevice", "Of those, that one device takes part in", ""],
  ["scrubDays", "Read everything that is stored once within", "days; 0: never"],
  ["compareHours", "Compare the copies of each volume every", "hours; 0: never"],
];

function RepairForm(props: { settings: SettingsView; onChanged: () => void }): ReactNode {
  const { settings, onChanged } = props;
  const [texts, setTexts] = useState<Readonly<Record<string, string>>>({});
  const [fingerprints, setFingerprints] = useState(settings.fingerprints);
  const save = useSave(onChanged);
  const changed = NUMBERS.flatMap(([name]) => {
    const text = texts[name];
    return text === undefined || Number(text) === settings[name] ? [] : [[name, Number(text)]];
  });
  const isSame = changed.length === 0 && fingerprints === settings.fingerprints;
  return (
    <form
      className="settings"
      onSubmit={(event) => {
        event.preventDefault();
        const numbers = Object.fromEntries(changed) as Partial<Record<NumberName, number>>;
        save(() => call("settings.change", { ...numbers, fingerprints }));
      }}
    >
      {NUMBERS.map(([name, label, unit]) => (
        <label className="field" key={name}>
          <span>
            {label} {unit !== "" && <small>({unit})</small>}
          </span>
          <input
            inputMode="numeric"
            pattern="[0-9]{1,7}"
            required
            value={texts[name] ?? String(settings[name])}
            onChange={(event) => setTexts({ ...texts, [name]: event.target.value })}
          />
        </label>
      ))}
      <ChoiceField
        label="Ask what a device holds before anything is copied to it"
        value={fingerprints}
        choices={[
          ["on", "on: only what is missing is sent"],
          ["off", "off: copied whole, for comparison"],
        ]}
        onChange={setFingerprints}
      />
      <Save isSame={isSame} />
    </form>
  );
}

/** What somebody is about to change stays when only who decides, or who looks after, is new. */
function haKey({ toleratedHosts, admission }: HaView): string {
  return `${toleratedHosts} ${admission}`;
}

function HaForm({ ha, onChanged }: { ha: HaView; onChanged: () => void }): ReactNode {
  const [tolerated, setTolerated] = useState(String(ha.toleratedHosts));
  const [admission, setAdmission] = useState(ha.admission);
  const save = useSave(onChanged);
  const isSame = Number(tolerated) === ha.toleratedHosts && admission === ha.admission;
  return (
    <>
      {ha.problem !== undefined && <p className="fault">{ha.problem}</p>}
      <Facts
        rows={[
          [
            "Machines of failed hosts",
            ha.isArmed ? (
              <Chip tone="good">start elsewhere</Chip>
            ) : (
              <Chip tone="warn">stay where they are</Chip>
            ),
          ],
          ["Who decides", ha.master ?? "nobody at the moment"],
          ["Hosts that look after machines", ha.hosts.length === 0 ? "none" : ha.hosts.join(", ")],
        ]}
      />
      <form
        className="settings"
        onSubmit={(event) => {
          event.preventDefault();
          save(() => call("ha.set", { toleratedHosts: Number(tolerated), admission }));
        }}
      >
        <label className="field">
          <span>Hosts that may fail at once with room for all their machines</span>
          <input
            inputMode="numeric"
            pattern="[0-9]{1,2}"
            required
            value={tolerated}
            onChange={(event) => setTolerated(event.target.value)}
          />
        </label>
        <ChoiceField
          label="A start that leaves too little room for that"
          value={admission}
          choices={[
            ["refuse", "is refused"],
            ["warn", "is done, with a warning"],
            ["off", "is done"],
          ]}
          onChange={setAdmission}
        />
        <Save isSame={isSame} />
      </form>
    </>
  );
}

function ArmButton({ ha, onChanged }: { ha: HaView; onChanged: () => void }): ReactNode {
  const { ask } = useActions();
  const disarm = (): void =>
    ask({
      title: "Disarm high availability?",
      text: <p>Until it is armed again no machine is started elsewhere, whatever fails.</p>,
      verb: "Disarm",
      isDanger: true,
      act: async () => {
        await call("ha.disarm", {});
        onChanged();
      },
      done: "High availability is disarmed.",
    });
  const arm = (): void =>
    ask({
      title: "Arm high availability?",
      text: <p>Machines of failed hosts are started elsewhere again.</p>,
      verb: "Arm",
      act: async () => {
        await call("ha.arm", {});
        onChanged();
      },
      done: "High availability is armed.",
    });
  return (
    <button type="button" onClick={ha.isArmed ? disarm : arm}>
      {ha.isArmed ? "Disarm" : "Arm"}
    </button>
  );
}

function useSave(onChanged: () => void): (act: () => Promise<unknown>) => void {
  const { tell } = useActions();
  return (act) => {
    act().then(
      () => {
        tell("Saved; it holds from now on.");
        onChanged();
      },
      (error: unknown) => tell(textOf(error), true),
    );
  };
}

function Save({ isSame }: { isSame: boolean }): ReactNode {
  return (
    <div className="buttons wide">
      <button type="submit" className="primary" disabled={isSame}>
        Save
      </button>
    </div>
  );
}

function CertificateCard({ version }: { version: number }): ReactNode {
  const { value, refusal } = useAnswer(() => call("certificate.show", {}), version);
  const { ask } = useActions();
  const renew = (): void =>
    ask({
      title: "Renew this host's certificate now?",
      text: <p>It is renewed by itself in time; connections go on.</p>,
      verb: "Renew",
      act: () => call("certificate.renew", {}),
      done: "The certificate is renewed.",
    });
  return (
    <Card
      title="Certificate of this host"
      aside={
        value !== undefined && (
          <button type="button" onClick={renew}>
            Renew now
          </button>
        )
      }
    >
      {value === undefined ? (
        refusal === undefined ? (
          <Waiting />
        ) : (
          <p className="empty">{refusal.message}</p>
        )
      ) : (
        <Facts
          rows={[
            ["Host", value.host],
            ["Good until", clockTime(value.endsMs)],
            ["Renewed by itself from", clockTime(value.renewsMs)],
            ["For", value.addresses.join(", ")],
            ["The cluster's authority is good until", clockTime(value.authorityEndsMs)],
            [
              "Hosts that are refused",
              value.removed.length === 0
                ? "none"
                : value.removed.map(({ name }) => name).join(", "),
            ],
          ]}
        />
      )}
    </Card>
  );
}
