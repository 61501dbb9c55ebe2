/** Asks for a token where the host wants one. */
import { useState } from "react";
import type { ReactNode } from "react";
import { hasToken, setToken } from "./api.ts";
import type { Refusal } from "./api.ts";
import { tryToken } from "./cluster-store.ts";
import { Card, CommandLine } from "./parts.tsx";

export function Login({ refusal }: { refusal: Refusal }): ReactNode {
  const [token, setTyped] = useState("");
  return (
    <Card title="Show a token" className="login">
      <p>{hasToken() ? refusal.message : "This host wants to know who you are."}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          setToken(token.trim());
          void tryToken();
        }}
      >
        <label className="field">
          <span>Token</span>
          <input
            type="password"
            autoComplete="off"
            required
            value={token}
            onChange={(event) => setTyped(event.target.value)}
          />
        </label>
        <button type="submit" className="primary">
          Show it
        </button>
      </form>
      <p>
        An admin makes one on a host; it is kept in this tab alone. Without it the browser can show
        a certificate of the cluster.
      </p>
      <CommandLine line="drystone access create NAME --role viewer" />
    </Card>
  );
}
