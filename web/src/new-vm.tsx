/** Defining a machine whose disks are volumes that exist. */
import { useState } from "react";
import type { ReactNode } from "react";
import type { VmView, VolumeView } from "../../src/host/index.ts";
import { call } from "./api.ts";
import { ChoiceField, FormDialog, TextField } from "./form-dialog.tsx";
import { parseSize } from "./format.ts";
import { href } from "./route.ts";

const PRIORITIES: readonly (readonly [VmView["priority"], string])[] = [
  ["highest", "highest: first"],
  ["high", "high"],
  ["medium", "medium"],
  ["low", "low"],
  ["lowest", "lowest: last"],
];

export function NewVm(props: { volumes: readonly VolumeView[]; onClose: () => void }): ReactNode {
  const free = props.volumes.filter(({ attachment }) => attachment === undefined);
  const [name, setName] = useState("");
  const [volume, setVolume] = useState(free[0]?.name ?? "");
  const [memory, setMemory] = useState("2G");
  const [cpus, setCpus] = useState("1");
  const [priority, setPriority] = useState<VmView["priority"]>("medium");
  const memoryBytes = parseSize(memory);
  return (
    <FormDialog
      title="Define a machine"
      verb="Define"
      isReady={volume !== "" && memoryBytes !== undefined}
      onClose={props.onClose}
      act={async () => {
        const size = memoryBytes === undefined ? {} : { memoryBytes };
        const volumes = [volume];
        await call("vm.create", { name, volumes, cpuCount: Number(cpus), priority, ...size });
        window.location.hash = href("vms", name);
        return `${name} is defined; start it when you like.`;
      }}
    >
      {free.length === 0 && <p className="fault">No volume is free: create one first.</p>}
      <TextField label="Name" value={name} pattern="[a-z0-9][a-z0-9\-]{0,62}" onChange={setName} />
      <ChoiceField
        label="Its disk, from which it boots"
        value={volume}
        choices={free.map((one) => [one.name, one.name] as const)}
        onChange={setVolume}
      />
      <TextField label="Memory" hint="such as 2G" value={memory} onChange={setMemory} />
      <TextField label="Processors" value={cpus} pattern="[1-9][0-9]{0,2}" onChange={setCpus} />
      <ChoiceField
        label="When hosts fail, it is started"
        value={priority}
        choices={PRIORITIES}
        onChange={setPriority}
      />
    </FormDialog>
  );
}
