/** A window that asks for something before it does it. */
import { useState } from "react";
import type { ReactNode } from "react";
import { textOf, useActions } from "./actions.tsx";
import { refresh } from "./cluster-store.ts";
import { Dialog } from "./parts.tsx";

export function FormDialog(props: {
  title: string;
  verb: string;
  isDanger?: boolean;
  /** The button does nothing as long as something is missing. */
  isReady?: boolean;
  children: ReactNode;
  /** Resolves with what is said when it is done. */
  act: () => Promise<string>;
  onClose: () => void;
}): ReactNode {
  const { tell } = useActions();
  const [isBusy, setBusy] = useState(false);
  const [fault, setFault] = useState<string>();
  const { isReady = true, onClose } = props;
  const act = async (): Promise<void> => {
    setBusy(true);
    try {
      tell(await props.act());
      onClose();
    } catch (error) {
      setFault(textOf(error));
      setBusy(false);
    }
    void refresh();
  };
  return (
    <Dialog title={props.title} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (isReady && !isBusy) void act();
        }}
      >
        {props.children}
        {fault !== undefined && (
          <p className="fault" role="alert">
            {fault}
          </p>
        )}
        <div className="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button
            type="submit"
            className={props.isDanger === true ? "primary danger" : "primary"}
            disabled={isBusy || !isReady}
          >
            {isBusy ? "Working…" : props.verb}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

export function TextField(props: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  hint?: string;
  isOptional?: boolean;
  pattern?: string;
}): ReactNode {
  return (
    <label className="field">
      <span>
        {props.label} {props.hint !== undefined && <small>{props.hint}</small>}
      </span>
      <input
        value={props.value}
        pattern={props.pattern}
        required={props.isOptional !== true}
        onChange={(event) => props.onChange(event.target.value)}
      />
    </label>
  );
}

export function ChoiceField<T extends string>(props: {
  label: string;
  value: T;
  choices: readonly (readonly [value: T, label: string])[];
  onChange: (value: T) => void;
}): ReactNode {
  return (
    <label className="field">
      <span>{props.label}</span>
      <select
        value={props.value}
        onChange={(event) => {
          const found = props.choices.find(([value]) => value === event.target.value);
          if (found !== undefined) props.onChange(found[0]);
        }}
      >
        {props.choices.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A few choices that each need a sentence. */
export function RadioField<T extends string>(props: {
  legend: string;
  value: T;
  choices: readonly (readonly [value: T, label: string, what: string])[];
  onChange: (value: T) => void;
}): ReactNode {
  return (
    <fieldset className="radios">
      <legend>{props.legend}</legend>
      {props.choices.map(([value, label, what]) => (
        <label key={value}>
          <input
            type="radio"
            name={props.legend}
            checked={value === props.value}
            onChange={() => props.onChange(value)}
          />
          <span>
            <strong>{label}</strong>
            <small>{what}</small>
          </span>
        </label>
      ))}
    </fieldset>
  );
}
