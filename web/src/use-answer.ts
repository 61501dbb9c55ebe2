/** What the host answers to a question of one page, asked anew with every look at the cluster. */
import { useEffect, useState } from "react";
import { Refusal } from "./api.ts";

export interface Answer<T> {
  /** The newest answer; undefined before the first. */
  readonly value: T | undefined;
  /** Why the newest question was not answered. */
  readonly refusal: Refusal | undefined;
}

/** `subject` is what is asked about: an answer about another one is not shown. */
export function useAnswer<T>(ask: () => Promise<T>, version: number, subject = ""): Answer<T> {
  const [answer, setAnswer] = useState<Answer<T> & { readonly subject: string }>();
  useEffect(() => {
    let isGone = false;
    ask().then(
      (value) => {
        if (!isGone) setAnswer({ subject, value, refusal: undefined });
      },
      (error: unknown) => {
        if (!(error instanceof Refusal)) throw error;
        // What was known last stays.
        if (!isGone)
          setAnswer((last) => ({
            subject,
            value: last?.subject === subject ? last.value : undefined,
            refusal: error,
          }));
      },
    );
    return () => {
      isGone = true;
    };
    // `ask` is another function each time; what it asks changes with these.
  }, [version, subject]);
  if (answer?.subject !== subject) return { value: undefined, refusal: undefined };
  return answer;
}
