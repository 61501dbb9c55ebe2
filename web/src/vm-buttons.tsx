/** What can be done with a machine. */
import { useState } from "react";
import type { ReactNode } from "react";
import type { HostView, VmView } from "../../src/host/index.ts";
import { useActions } from "./actions.tsx";
import type { Question } from "./actions.tsx";
import { call } from "./api.ts";
import { ChoiceField, FormDialog } from "./form-dialog.tsx";
import { href } from "./route.ts";

type Act = (name: string) => Question;

const ACTS = {
  start: (name) => ({
    title: `Start ${name}?`,
    text: <p>A host with room is chosen for it.</p>,
    verb: "Start",
    act: () => call("vm.start", { name }),
    done: `${name} is being started.`,
  }),
  stop: (name) => ({
    title: `Stop ${name}?`,
    text: <p>The guest is asked to shut down, and ended after a minute if it does not.</p>,
    verb: "Stop",
    isDanger: true,
    act: () => call("vm.stop", { name }),
    done: `${name} is being stopped.`,
  }),
  reset: (name) => ({
    title: `Reset ${name}?`,
    text: <p>As if its reset button were pressed: what its guest had not written is lost.</p>,
    verb: "Reset",
    isDanger: true,
    act: () => call("vm.reset", { name }),
    done: `${name} is reset.`,
  }),
  kill: (name) => ({
    title: `End ${name} at once?`,
    text: <p>As if its power were cut: what its guest had not written is lost.</p>,
    verb: "End it",
    isDanger: true,
    act: () => call("vm.kill", { name }),
    done: `${name} is being ended.`,
  }),
  protect: (name) => ({
    title: `Protect ${name}?`,
    text: <p>It is started on another host when its own has failed.</p>,
    verb: "Protect",
    act: () => call("vm.protect", { name }),
    done: `${name} is to be protected.`,
  }),
  unprotect: (name) => ({
    title: `Protect ${name} no more?`,
    text: <p>It stays down when its host fails, until that host is back.</p>,
    verb: "Do not protect",
    isDanger: true,
    act: () => call("vm.unprotect", { name }),
    done: `${name} is not protected any more.`,
  }),
  delete: (name) => ({
    title: `Delete ${name}?`,
    text: <p>Its definition is gone; its volumes stay.</p>,
    verb: "Delete",
    isDanger: true,
    typed: name,
    act: async () => {
      await call("vm.delete", { name });
      window.location.hash = href("vms");
    },
    done: `${name} is deleted.`,
  }),
} as const satisfies Readonly<Record<string, Act>>;

const WORDS: Readonly<Record<keyof typeof ACTS, string>> = {
  start: "Start",
  stop: "Stop",
  reset: "Reset",
  kill: "End at once",
  protect: "Protect",
  unprotect: "Do not protect",
  delete: "Delete",
};

function ActButton(props: { vm: VmView; what: keyof typeof ACTS; className?: string }): ReactNode {
  const { vm, what } = props;
  const { ask } = useActions();
  return (
    <button
      type="button"
      className={props.className ?? ""}
      aria-label={`${WORDS[what]}: ${vm.name}`}
      disabled={what === "stop" && vm.state === "stopping"}
      onClick={() => ask(ACTS[what](vm.name))}
    >
      {WORDS[what]}
    </button>
  );
}

function MigrateButton(props: {
  vm: VmView;
  hosts: readonly HostView[];
  className?: string;
}): ReactNode {
  const { vm } = props;
  const [isAsking, setAsking] = useState(false);
  return (
    <>
      <button
        type="button"
        className={props.className ?? ""}
        aria-label={`Migrate: ${vm.name}`}
        disabled={vm.movesTo !== undefined}
        onClick={() => setAsking(true)}
      >
        Migrate
      </button>
      {isAsking && <MigrateDialog vm={vm} hosts={props.hosts} onClose={() => setAsking(false)} />}
    </>
  );
}

function MigrateDialog(props: {
  vm: VmView;
  hosts: readonly HostView[];
  onClose: () => void;
}): ReactNode {
  const { vm } = props;
  const [host, setHost] = useState("");
  const others = props.hosts.filter(({ name, state }) => name !== vm.host && state === "up");
  return (
    <FormDialog
      title={`Migrate ${vm.name}`}
      verb="Migrate"
      onClose={props.onClose}
      act={async () => {
        const request = host === "" ? { name: vm.name } : { name: vm.name, host };
        const moved = await call("vm.migrate", request);
        return `${vm.name} moves to ${moved.movesTo ?? moved.host ?? "another host"}.`;
      }}
    >
      <p>It runs on {vm.host} now. Its guest goes on while it moves.</p>
      <ChoiceField
        label="Where to"
        value={host}
        choices={[
          ["", "the host with the most room"],
          ...others.map(({ name }) => [name, name] as const),
        ]}
        onChange={setHost}
      />
    </FormDialog>
  );
}

/** In a list: what is done most. */
export function VmButtons({ vm, hosts }: { vm: VmView; hosts: readonly HostView[] }): ReactNode {
  if (vm.state === "stopped") return <ActButton vm={vm} what="start" className="small" />;
  return (
    <div className="buttons row">
      {vm.state === "running" && <MigrateButton vm={vm} hosts={hosts} className="small" />}
      <ActButton vm={vm} what="stop" className="small" />
    </div>
  );
}

export function AllVmButtons({ vm, hosts }: { vm: VmView; hosts: readonly HostView[] }): ReactNode {
  const isRunning = vm.state === "running";
  return (
    <div className="buttons">
      {vm.state === "stopped" ? (
        <>
          <ActButton vm={vm} what="start" className="primary" />
          <ActButton vm={vm} what="delete" className="danger" />
        </>
      ) : (
        <>
          {isRunning && <MigrateButton vm={vm} hosts={hosts} />}
          <ActButton vm={vm} what="stop" />
          {isRunning && <ActButton vm={vm} what="reset" />}
          <ActButton vm={vm} what="kill" className="danger" />
        </>
      )}
      <ActButton vm={vm} what={vm.protection === "unprotected" ? "protect" : "unprotect"} />
    </div>
  );
}
