/** What stands on a page until its question is answered, or instead of it. */
import type { ReactNode } from "react";
import type { Refusal } from "./api.ts";

export function Waiting({ refusal }: { refusal?: Refusal | undefined }): ReactNode {
  if (refusal === undefined) return <p className="empty">Asking the host…</p>;
  return (
    <p className="trouble">
      <strong>{refusal.message}</strong> {refusal.hint}
    </p>
  );
}
