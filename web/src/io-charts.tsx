/** What clients do and how long they wait: of one volume or of all. */
import type { ReactNode } from "react";
import { Chart } from "./chart.tsx";
import { bytes, digits, milliseconds } from "./format.ts";
import { rates } from "./rates.ts";
import type { Rate, Sample } from "./rates.ts";

export function IoCharts(props: { samples: readonly Sample[]; volume?: string }): ReactNode {
  const all = rates(props.samples, props.volume);
  const times = all.map(({ timeMs }) => timeMs);
  const chart = (
    title: string,
    format: (value: number) => string,
    read: (rate: Rate) => number | undefined,
    write: (rate: Rate) => number | undefined,
  ): ReactNode => (
    <Chart
      title={title}
      times={times}
      format={format}
      lines={[
        { name: "Reads", className: "first", values: all.map(read) },
        { name: "Writes", className: "second", values: all.map(write) },
      ]}
    />
  );
  return (
    <div className="charts">
      {chart(
        "Requests per second",
        digits,
        ({ reads }) => reads,
        ({ writes }) => writes,
      )}
      {chart(
        "Mean latency",
        milliseconds,
        ({ readMs }) => readMs,
        ({ writeMs }) => writeMs,
      )}
      {chart(
        "Throughput",
        (value) => `${bytes(value)}/s`,
        ({ readBytes }) => readBytes,
        ({ writeBytes }) => writeBytes,
      )}
    </div>
  );
}
