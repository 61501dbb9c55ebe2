/** Making a volume, and then the lines with which it is attached. */
import { useState } from "react";
import type { ReactNode } from "react";
import { shellWord } from "../../src/base/shell-word.ts";
import { textOf, useActions } from "./actions.tsx";
import { call } from "./api.ts";
import { refresh } from "./cluster-store.ts";
import { bytes, parseSize } from "./format.ts";
import { CommandLine, Dialog } from "./parts.tsx";
import { href } from "./route.ts";

const FAILURES_MAX = 3;

export function NewVolume(props: { hostCount: number; onClose: () => void }): ReactNode {
  const [made, setMade] = useState<string>();
  const title = made === undefined ? "Create a volume" : `${made} is ready`;
  return (
    <Dialog title={title} onClose={props.onClose}>
      {made === undefined ? (
        <VolumeForm {...props} onMade={setMade} />
      ) : (
        <AttachLines name={made} onClose={props.onClose} />
      )}
    </Dialog>
  );
}

function VolumeForm(props: {
  hostCount: number;
  onClose: () => void;
  onMade: (name: string) => void;
}): ReactNode {
  const most = Math.min(FAILURES_MAX, Math.max(0, Math.floor((props.hostCount - 1) / 2)));
  const [name, setName] = useState("");
  const [size, setSize] = useState("10G");
  const [failures, setFailures] = useState(Math.min(1, most));
  const [isEncrypted, setEncrypted] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [fault, setFault] = useState<string>();
  const sizeBytes = parseSize(size);
  const create = async (): Promise<void> => {
    if (sizeBytes === undefined) return setFault("The size is not one: write 10G, 512M or 1.5T.");
    setBusy(true);
    try {
      const encryption = isEncrypted ? { encrypted: true } : {};
      await call("volume.create", { name, sizeBytes, failuresToTolerate: failures, ...encryption });
      void refresh();
      props.onMade(name);
    } catch (error) {
      setFault(textOf(error));
      setBusy(false);
    }
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void create();
      }}
    >
      <label className="field">
        <span>Name</span>
        <input value={name} onChange={(event) => setName(event.target.value)} required />
      </label>
      <label className="field">
        <span>Size {sizeBytes !== undefined && <small>({bytes(sizeBytes)})</small>}</span>
        <input value={size} onChange={(event) => setSize(event.target.value)} required />
      </label>
      <FailuresField most={most} value={failures} onChange={setFailures} />
      <label className="field">
        <span>
          Encrypted at rest <small>(for good: it cannot be changed later)</small>
        </span>
        <input
          type="checkbox"
          checked={isEncrypted}
          onChange={(event) => setEncrypted(event.target.checked)}
        />
      </label>
      {fault !== undefined && (
        <p className="fault" role="alert">
          {fault}
        </p>
      )}
      <div className="buttons">
        <button type="button" onClick={props.onClose}>
          Cancel
        </button>
        <button type="submit" className="primary" disabled={isBusy}>
          {isBusy ? "Working…" : "Create"}
        </button>
      </div>
    </form>
  );
}

function FailuresField({
  most,
  value,
  onChange,
}: {
  most: number;
  value: number;
  onChange: (count: number) => void;
}): ReactNode {
  return (
    <label className="field">
      <span>Host failures to survive</span>
      <select value={value} onChange={(event) => onChange(Number(event.target.value))}>
        {Array.from({ length: most + 1 }, (_, count) => (
          <option key={count} value={count}>
            {count === 0 ? "0: one copy" : `${count}: ${count + 1} copies`}
          </option>
        ))}
      </select>
    </label>
  );
}

function AttachLines({ name, onClose }: { name: string; onClose: () => void }): ReactNode {
  const { tell } = useActions();
  const attach = async (): Promise<void> => {
    try {
      const { uri } = await call("volume.attach", { name });
      tell(`${name} is attached at ${uri}`);
      window.location.hash = href("volumes", name);
      onClose();
    } catch (error) {
      tell(textOf(error), true);
    }
    void refresh();
  };
  const line = `drystone volume attach ${shellWord(name)}`;
  return (
    <>
      <p>It takes space only for what is written. To use it, run on a host:</p>
      <CommandLine line={`${line} --nbd ${shellWord(`/run/${name}.sock`)}`} />
      <p>Or for a virtual machine, over shared memory:</p>
      <CommandLine line={`${line} --vhost-user ${shellWord(`/run/${name}.vhost`)}`} />
      <div className="buttons">
        <button type="button" onClick={onClose}>
          Later
        </button>
        <button type="button" className="primary" onClick={() => void attach()}>
          Attach it here now
        </button>
      </div>
    </>
  );
}
