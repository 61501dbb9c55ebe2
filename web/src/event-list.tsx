/** Events, newest first. */
import type { ReactNode } from "react";
import type { EventView } from "../../src/host/index.ts";
import { ago, clockTime } from "./format.ts";
import { Chip } from "./parts.tsx";
import { eventTones } from "./tones.ts";

export function EventList(props: { events: readonly EventView[]; nowMs: number }): ReactNode {
  if (props.events.length === 0) return <p className="empty">Nothing has happened.</p>;
  return (
    <ol className="events">
      {props.events.map(({ sequence, level, message, timeMs, kind }) => (
        <li key={sequence}>
          <Chip tone={eventTones[level]}>{level}</Chip>
          <span className="message" title={kind}>
            {message}
          </span>
          <time dateTime={new Date(timeMs).toISOString()} title={clockTime(timeMs)}>
            {ago(timeMs, props.nowMs)}
          </time>
        </li>
      ))}
    </ol>
  );
}
