/** What happened on this host, live. */
import { useId, useState } from "react";
import type { ReactNode } from "react";
import type { PageProps } from "../app.tsx";
import { EventList } from "../event-list.tsx";
import { Card } from "../parts.tsx";

const levels = ["info", "warning", "error"] as const;

export function EventsPage({ cluster }: PageProps): ReactNode {
  const [least, setLeast] = useState<(typeof levels)[number]>("info");
  const [text, setText] = useState("");
  const id = useId();
  const wanted = text.toLowerCase();
  const events = cluster.events.filter(({ level, message, kind }) => {
    if (levels.indexOf(level) < levels.indexOf(least)) return false;
    return `${kind} ${message}`.toLowerCase().includes(wanted);
  });
  return (
    <Card title="What happened, as told by the host that you ask">
      <div className="filters">
        <label className="field">
          <span>Contains</span>
          <input value={text} onChange={(event) => setText(event.target.value)} type="search" />
        </label>
        <label className="field" htmlFor={id}>
          <span>At least</span>
          <select
            id={id}
            value={least}
            onChange={(event) =>
              setLeast(levels.find((one) => one === event.target.value) ?? "info")
            }
          >
            {levels.map((level) => (
              <option key={level}>{level}</option>
            ))}
          </select>
        </label>
      </div>
      <EventList events={events} nowMs={cluster.nowMs} />
    </Card>
  );
}
