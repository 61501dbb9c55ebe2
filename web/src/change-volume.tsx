/** Another size or policy for a volume that may be in use. */
import { useState } from "react";
import type { ReactNode } from "react";
import type { VolumeView } from "../../src/host/index.ts";
import { call } from "./api.ts";
import { FormDialog, TextField } from "./form-dialog.tsx";
import { bytes, parseSize } from "./format.ts";

export function ChangeDialog(props: { volume: VolumeView; onClose: () => void }): ReactNode {
  const { name, sizeBytes, failuresToTolerate, stripes } = props.volume;
  const [size, setSize] = useState("");
  const [failures, setFailures] = useState(String(failuresToTolerate));
  const [columns, setColumns] = useState(String(stripes));
  const wanted = size === "" ? sizeBytes : parseSize(size);
  const isPolicyNew = Number(failures) !== failuresToTolerate || Number(columns) !== stripes;
  const isReady = wanted !== undefined && (wanted !== sizeBytes || isPolicyNew);
  return (
    <FormDialog
      title={`Change ${name}`}
      verb="Change"
      isReady={isReady}
      onClose={props.onClose}
      act={async () => {
        if (wanted !== undefined && wanted !== sizeBytes)
          await call("volume.resize", { name, sizeBytes: wanted });
        if (isPolicyNew)
          await call("volume.set", {
            name,
            failuresToTolerate: Number(failures),
            stripes: Number(columns),
          });
        return isPolicyNew ? `${name} is being made for the new policy.` : `${name} has grown.`;
      }}
    >
      <p>It stays in use. Copies for another policy are made in the background.</p>
      <TextField
        label="Grow to"
        hint={`(${bytes(sizeBytes)} now; clients see it when they connect again)`}
        value={size}
        isOptional
        onChange={setSize}
      />
      <TextField
        label="Host failures to survive"
        value={failures}
        pattern="[0-3]"
        onChange={setFailures}
      />
      <TextField
        label="Devices for each copy"
        value={columns}
        pattern="[0-9]{1,2}"
        onChange={setColumns}
      />
    </FormDialog>
  );
}
