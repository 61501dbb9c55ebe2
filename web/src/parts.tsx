/** What every page is made of. */
import { useEffect, useId, useRef, useState } from "react";
import type { ReactNode } from "react";

export type Tone = "good" | "warn" | "bad" | "quiet" | "busy";

const MARKS: Readonly<Record<Tone, string>> = {
  good: "✓",
  warn: "!",
  bad: "✕",
  quiet: "–",
  busy: "↻",
};

/** A state: never told by colour alone. */
export function Chip({ tone, children }: { tone: Tone; children: ReactNode }): ReactNode {
  return (
    <span className={`chip ${tone}`}>
      <span className="mark" aria-hidden="true">
        {MARKS[tone]}
      </span>
      {children}
    </span>
  );
}

export function Card(props: {
  title: string;
  aside?: ReactNode;
  children: ReactNode;
  className?: string;
}): ReactNode {
  const id = useId();
  return (
    <section className={`card ${props.className ?? ""}`} aria-labelledby={id}>
      <header>
        <h2 id={id}>{props.title}</h2>
        {props.aside}
      </header>
      {props.children}
    </section>
  );
}

export interface Column<T> {
  readonly head: string;
  readonly cell: (row: T) => ReactNode;
  readonly isNumber?: boolean;
}

/** More rows at once would make a page slow. */
const ROWS_SHOWN = 100;

interface TableProps<T> {
  readonly label: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly rowKey: (row: T) => string;
  readonly empty: ReactNode;
}

/** Of a long list the first rows, what is looked for, and more on demand. */
export function Table<T>(props: TableProps<T> & { find?: (row: T) => string }): ReactNode {
  const { rows, find, label } = props;
  const [text, setText] = useState("");
  const [shown, setShown] = useState(ROWS_SHOWN);
  if (rows.length <= ROWS_SHOWN) return <Rows {...props} />;
  const wanted = text.toLowerCase();
  const found = wanted === "" ? rows : rows.filter((row) => find?.(row).includes(wanted));
  const count = Math.min(shown, found.length);
  return (
    <>
      {find !== undefined && (
        <label className="field find">
          <span>Find</span>
          <input
            type="search"
            aria-label={`Find in ${label}`}
            value={text}
            onChange={(event) => {
              setText(event.target.value);
              setShown(ROWS_SHOWN);
            }}
          />
        </label>
      )}
      <Rows {...props} rows={found.slice(0, shown)} empty="Nothing contains that." />
      <div className="buttons left">
        <span role="status">
          {count.toLocaleString("en")} of {rows.length.toLocaleString("en")} are shown
        </span>
        {found.length > shown && (
          <button type="button" className="small" onClick={() => setShown(shown + ROWS_SHOWN)}>
            Show more
          </button>
        )}
      </div>
    </>
  );
}

function Rows<T>(props: TableProps<T>): ReactNode {
  const { columns, rows, rowKey } = props;
  if (rows.length === 0) return <p className="empty">{props.empty}</p>;
  return (
    // What scrolls must be reached by the keyboard.
    <div className="scroller" role="group" aria-label={props.label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map(({ head, isNumber }) => (
              <th key={head} scope="col" className={isNumber === true ? "number" : undefined}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)}>
              {columns.map(({ head, cell, isNumber }) => (
                <td
                  key={head}
                  data-head={head}
                  className={isNumber === true ? "number" : undefined}
                >
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A share of a whole, as a bar and in words. */
export function Gauge(props: {
  label: string;
  share: number;
  text: string;
  /** Full is good. */
  isProgress?: boolean;
}): ReactNode {
  const percent = Math.round(Math.min(1, Math.max(0, props.share)) * 1000) / 10;
  const isFilling = props.isProgress !== true;
  const tone = !isFilling ? "good" : percent > 95 ? "bad" : percent > 80 ? "warn" : "good";
  return (
    <div className="gauge">
      <div
        className="track"
        role="meter"
        aria-label={props.label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={percent}
        aria-valuetext={props.text}
      >
        <div className={`fill ${tone}`} style={{ width: `${percent}%` }} />
      </div>
      <span className="gauge-text">{props.text}</span>
    </div>
  );
}

export function Facts({ rows }: { rows: readonly (readonly [string, ReactNode])[] }): ReactNode {
  return (
    <dl className="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A line for a terminal, with a button that copies it. */
export function CommandLine({ line }: { line: string }): ReactNode {
  const [isCopied, setCopied] = useState(false);
  const copy = (): void => {
    navigator.clipboard.writeText(line).then(
      () => setCopied(true),
      () => setCopied(false), // Without the permission the line can still be selected.
    );
  };
  const word = isCopied ? "Copied" : "Copy";
  return (
    <div className="command">
      <code tabIndex={0}>{line}</code>
      <button type="button" className="small" onClick={copy} aria-label={`${word}: ${line}`}>
        {word}
      </button>
    </div>
  );
}

/** A modal window of the browser's own: focus stays in it, Escape closes it. */
export function Dialog(props: {
  title: string;
  onClose: () => void;
  children: ReactNode;
}): ReactNode {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    if (dialog === null || dialog.open) return;
    dialog.showModal();
  }, []);
  return (
    <dialog ref={ref} aria-labelledby={id} onClose={props.onClose}>
      <h2 id={id}>{props.title}</h2>
      {props.children}
    </dialog>
  );
}
