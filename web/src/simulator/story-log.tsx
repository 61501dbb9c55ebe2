/** What happened up to a moment, newest first. */
import { useState } from "react";
import type { ReactNode } from "react";
import type { StoryLine } from "./trial-story.ts";
import { clock } from "./words.ts";

const LINES_SHOWN = 14;

export function Log({ lines, atMs }: { lines: readonly StoryLine[]; atMs: number }): ReactNode {
  const [hasRequests, setRequests] = useState(false);
  const wanted = hasRequests ? lines : lines.filter(({ who }) => !/^v\d/.test(who));
  const past = wanted.filter(({ timeMs }) => timeMs <= atMs).slice(-LINES_SHOWN);
  return (
    <>
      <label className="inline">
        <input
          type="checkbox"
          checked={hasRequests}
          onChange={(event) => setRequests(event.target.checked)}
        />{" "}
        With the requests of clients
      </label>
      <div className="scroller log" role="group" aria-label="What happened until then" tabIndex={0}>
        <table>
          <tbody>
            {past.toReversed().map(({ timeMs, who, what }, index) => (
              <tr key={`${timeMs} ${who} ${what} ${index}`}>
                <td data-head="Time">{clock(timeMs)}</td>
                <td data-head="Who">{who}</td>
                <td data-head="What">{what}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
