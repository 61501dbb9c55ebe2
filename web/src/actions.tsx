/** Things that change something: each is asked about first, and says what became of it. */
import { createContext, useCallback, useContext, useMemo, useState } from "react";
import type { ReactNode } from "react";
import { Refusal } from "./api.ts";
import { refresh } from "./cluster-store.ts";
import { Dialog } from "./parts.tsx";

export interface Question {
  readonly title: string;
  readonly text: ReactNode;
  /** The word on the button that does it. */
  readonly verb: string;
  readonly isDanger?: boolean;
  /** Must be typed before the button works. */
  readonly typed?: string;
  readonly act: () => Promise<unknown>;
  /** Said when it is done. */
  readonly done: string;
}

interface Notice {
  readonly id: number;
  readonly isBad: boolean;
  readonly text: string;
}

interface Actions {
  readonly ask: (question: Question) => void;
  readonly tell: (text: string, isBad?: boolean) => void;
}

const Context = createContext<Actions>({ ask: () => {}, tell: () => {} });
const NOTICE_MS = 6000;
/** More of them would hide the page. */
const NOTICES_MAX = 3;

export function useActions(): Actions {
  return useContext(Context);
}

export function textOf(error: unknown): string {
  if (!(error instanceof Refusal)) return `The page failed: ${String(error)}`;
  return error.hint === undefined ? error.message : `${error.message} — ${error.hint}`;
}

let noticeCount = 0;

export function ActionsProvider({ children }: { children: ReactNode }): ReactNode {
  const [question, setQuestion] = useState<Question>();
  const [notices, setNotices] = useState<readonly Notice[]>([]);
  const drop = useCallback((id: number) => {
    setNotices((all) => all.filter((notice) => notice.id !== id));
  }, []);
  const tell = useCallback(
    (text: string, isBad = false) => {
      const id = ++noticeCount;
      setNotices((all) => [...all.slice(1 - NOTICES_MAX), { id, isBad, text }]);
      // A refusal stays until it was read.
      if (!isBad) window.setTimeout(() => drop(id), NOTICE_MS);
    },
    [drop],
  );
  const actions = useMemo(() => ({ ask: setQuestion, tell }), [tell]);
  return (
    <Context.Provider value={actions}>
      {children}
      {question !== undefined && (
        <Asked question={question} onClose={() => setQuestion(undefined)} tell={tell} />
      )}
      <div className="notices" role="status" aria-live="polite">
        {notices.map(({ id, isBad, text }) => (
          <div key={id} className={isBad ? "notice bad" : "notice"}>
            <span>{text}</span>
            <button type="button" className="small" onClick={() => drop(id)}>
              Dismiss
            </button>
          </div>
        ))}
      </div>
    </Context.Provider>
  );
}

function Asked(props: {
  question: Question;
  onClose: () => void;
  tell: Actions["tell"];
}): ReactNode {
  const { question, onClose, tell } = props;
  const [typed, setTyped] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [fault, setFault] = useState<string>();
  const mayAct = !isBusy && (question.typed === undefined || typed === question.typed);
  const act = async (): Promise<void> => {
    setBusy(true);
    try {
      await question.act();
      tell(question.done);
      onClose();
    } catch (error) {
      setFault(textOf(error));
      setBusy(false);
    }
    void refresh();
  };
  return (
    <Dialog title={question.title} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (mayAct) void act();
        }}
      >
        <div className="prose">{question.text}</div>
        {question.typed !== undefined && (
          <label className="field">
            <span>
              Type <strong>{question.typed}</strong> to go on
            </span>
            <input value={typed} onChange={(event) => setTyped(event.target.value)} />
          </label>
        )}
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
            className={question.isDanger === true ? "primary danger" : "primary"}
            disabled={!mayAct}
          >
            {isBusy ? "Working…" : question.verb}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
