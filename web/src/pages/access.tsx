/** Tokens: who may use the API, and how a host joins. */
import { useState } from "react";
import type { ReactNode } from "react";
import { shellWord } from "../../../src/base/shell-word.ts";
import type { AccessRole, AccessView } from "../../../src/host/index.ts";
import { textOf, useActions } from "../actions.tsx";
import { call } from "../api.ts";
import type { PageProps } from "../app.tsx";
import type { ClusterState } from "../cluster-store.ts";
import { RadioField, TextField } from "../form-dialog.tsx";
import { ago, clockTime, duration } from "../format.ts";
import { Card, Chip, CommandLine, Dialog, Table } from "../parts.tsx";
import { useAnswer } from "../use-answer.ts";
import { Waiting } from "../waiting.tsx";

const DAYS_DEFAULT = "90";

const ROLES: readonly (readonly [AccessRole, string, string])[] = [
  ["viewer", "Viewer", "Sees everything but tokens and the audit log; changes nothing."],
  ["operator", "Operator", "Also works with volumes, snapshots, machines and hosts."],
  ["admin", "Admin", "Also decides who may do what."],
];

export function AccessPage({ cluster }: PageProps): ReactNode {
  const [isMaking, setMaking] = useState(false);
  const [changes, setChanges] = useState(0);
  const version = (cluster.samples.at(-1)?.timeMs ?? 0) + changes;
  const { value, refusal } = useAnswer(() => call("access.list", {}), version);
  const onChanged = (): void => setChanges((count) => count + 1);
  return (
    <>
      <Card
        title="Tokens for the API"
        aside={
          <button type="button" className="primary" onClick={() => setMaking(true)}>
            Make a token
          </button>
        }
      >
        {value === undefined ? (
          <Waiting refusal={refusal} />
        ) : (
          <Tokens tokens={value.tokens} nowMs={cluster.nowMs} onChanged={onChanged} />
        )}
      </Card>
      <JoinCard address={addressOf(cluster)} />
      {isMaking && <TokenDialog onClose={() => setMaking(false)} onMade={onChanged} />}
    </>
  );
}

function Tokens(props: {
  tokens: readonly AccessView[];
  nowMs: number;
  onChanged: () => void;
}): ReactNode {
  const { nowMs } = props;
  const { ask } = useActions();
  const revoke = ({ id, name }: AccessView): void =>
    ask({
      title: `Take the token of ${name} back?`,
      text: <p>Within five seconds no host accepts it any more.</p>,
      verb: "Take it back",
      isDanger: true,
      act: async () => {
        await call("access.revoke", { id });
        props.onChanged();
      },
      done: `The token of ${name} is taken back.`,
    });
  return (
    <Table
      label="Tokens"
      rows={props.tokens}
      rowKey={({ id }) => id}
      empty="There is no token. Where the API is not under TLS none is needed on the host itself."
      columns={[
        { head: "Whose", cell: ({ name }) => name },
        { head: "Role", cell: ({ role }) => role },
        {
          head: "May use",
          cell: ({ scopes }) => (scopes.length === 0 ? "all" : scopes.join(", ")),
        },
        {
          head: "Made",
          cell: ({ createdMs }) => (
            <time dateTime={new Date(createdMs).toISOString()} title={clockTime(createdMs)}>
              {ago(createdMs, nowMs)}
            </time>
          ),
        },
        { head: "Good for", cell: ({ expiresMs }) => <Left leftMs={expiresMs - nowMs} /> },
        {
          head: "Action",
          cell: (token) => (
            <button
              type="button"
              className="small danger"
              aria-label={`Take back the token of ${token.name}`}
              onClick={() => revoke(token)}
            >
              Take back
            </button>
          ),
        },
      ]}
    />
  );
}

/** Where this page's host is reached by the others. */
function addressOf({ status }: ClusterState): string {
  const here = status?.hosts.find(({ version }) => version !== undefined);
  return here?.apiAddress ?? window.location.host;
}

const SOON_MS = 7 * 24 * 3600 * 1000;

function Left({ leftMs }: { leftMs: number }): ReactNode {
  if (leftMs <= 0) return <Chip tone="bad">expired</Chip>;
  if (leftMs < SOON_MS) return <Chip tone="warn">{duration(leftMs)}</Chip>;
  return duration(leftMs);
}

function TokenDialog(props: { onClose: () => void; onMade: () => void }): ReactNode {
  const [token, setToken] = useState<string>();
  return (
    <Dialog title={token === undefined ? "Make a token" : "The token"} onClose={props.onClose}>
      {token === undefined ? (
        <TokenForm
          onClose={props.onClose}
          onMade={(made) => {
            setToken(made);
            props.onMade();
          }}
        />
      ) : (
        <>
          <p>It is shown this once. Give it to its holder over a safe way.</p>
          <CommandLine line={token} />
          <div className="buttons">
            <button type="button" className="primary" onClick={props.onClose}>
              I have it
            </button>
          </div>
        </>
      )}
    </Dialog>
  );
}

function TokenForm(props: { onClose: () => void; onMade: (token: string) => void }): ReactNode {
  const [name, setName] = useState("");
  const [days, setDays] = useState(DAYS_DEFAULT);
  const [role, setRole] = useState<AccessRole>("viewer");
  const [fault, setFault] = useState<string>();
  const make = async (): Promise<void> => {
    try {
      const { token } = await call("access.create", { name, role, days: Number(days) });
      props.onMade(token);
    } catch (error) {
      setFault(textOf(error));
    }
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void make();
      }}
    >
      <TextField label="Whose it is or what it is for" value={name} onChange={setName} />
      <RadioField legend="What its holder may do" value={role} choices={ROLES} onChange={setRole} />
      <TextField
        label="Days until it expires"
        value={days}
        pattern="[0-9]{1,4}"
        onChange={setDays}
      />
      {fault !== undefined && (
        <p className="fault" role="alert">
          {fault}
        </p>
      )}
      <div className="buttons">
        <button type="button" onClick={props.onClose}>
          Cancel
        </button>
        <button type="submit" className="primary">
          Make it
        </button>
      </div>
    </form>
  );
}

function JoinCard({ address }: { address: string }): ReactNode {
  const { tell } = useActions();
  const [token, setToken] = useState<string>();
  const make = (): void => {
    call("token.create", {}).then(
      (made) => setToken(made.token),
      (error: unknown) => tell(textOf(error), true),
    );
  };
  return (
    <Card
      title="Add a host"
      aside={
        <button type="button" onClick={make}>
          Make a token to join with
        </button>
      }
    >
      {token === undefined ? (
        <p>A new host joins with a token that is good once, for half an hour.</p>
      ) : (
        <>
          <p>On the new host, within half an hour:</p>
          <CommandLine
            line={`drystone join ${shellWord(address)} --token ${shellWord(token)} --device PATH`}
          />
        </>
      )}
    </Card>
  );
}
