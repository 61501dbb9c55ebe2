/** The signs of the pages, drawn here so that no font has to have them. */
import type { ReactNode } from "react";

const paths: Readonly<Record<string, string>> = {
  overview: "M3 13a7 7 0 0 1 14 0M10 13l3-4M3 16h14",
  volumes: "M4 5c0-3 12-3 12 0v10c0 3-12 3-12 0zM4 5c0 3 12 3 12 0M4 10c0 3 12 3 12 0",
  vms: "M3 4h14v9H3zM7 17h6M10 13v4",
  hosts: "M3 3h14v5H3zM3 12h14v5H3zM6 5.5h1M6 14.5h1",
  devices: "M4 3h12v14H4zM10 7a3 3 0 1 0 .01 0M7 15h1",
  health: "M2 10h4l2-5 4 10 2-5h4",
  simulator: "M7 3h6M8 3v5l-5 8h14l-5-8V3M6 12h8",
  snapshots: "M3 6h4l1-2h4l1 2h4v10H3zM10 8a3 3 0 1 0 .01 0",
  events: "M4 5h12M4 10h12M4 15h8",
  audit: "M5 3h10v14H5zM8 7h4M8 10h4M8 13h2",
  access: "M7 6a4 4 0 1 0 .01 0M11 10h7M15 10v3M18 10v2",
  settings: "M3 6h7M14 6h3M12 4v4M3 14h3M10 14h7M8 12v4",
};

export function Icon({ name }: { name: string }): ReactNode {
  return (
    <svg className="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}
