/** The frame of the dashboard: where we are, how the cluster is, and the page. */
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import type { ReactNode } from "react";
import { ActionsProvider } from "./actions.tsx";
import { hasToken, setToken, wantsToken } from "./api.ts";
import { Login } from "./login.tsx";
import { snapshot, subscribe, watchCluster } from "./cluster-store.ts";
import type { ClusterState } from "./cluster-store.ts";
import { AccessPage } from "./pages/access.tsx";
import { AuditPage } from "./pages/audit.tsx";
import { DevicesPage } from "./pages/devices.tsx";
import { EventsPage } from "./pages/events.tsx";
import { HealthPage } from "./pages/health.tsx";
import { HostsPage } from "./pages/hosts.tsx";
import { OverviewPage } from "./pages/overview.tsx";
import { SettingsPage } from "./pages/settings.tsx";
import { SimulatorPage } from "./pages/simulator.tsx";
import { SnapshotsPage } from "./pages/snapshots.tsx";
import { VmsPage } from "./pages/vms.tsx";
import { VolumesPage } from "./pages/volumes.tsx";
import { Icon } from "./icon.tsx";
import { Chip } from "./parts.tsx";
import { href, usePlace } from "./route.ts";
import { healthTones } from "./tones.ts";

export interface PageProps {
  readonly cluster: ClusterState;
  readonly name: string | undefined;
}

interface PageEntry {
  readonly title: string;
  /** What stands after its name in the address is no name of anything. */
  readonly isWhole?: true;
  readonly page: (props: PageProps) => ReactNode;
}

const pages: Readonly<Record<string, PageEntry>> = {
  overview: { title: "Overview", page: OverviewPage },
  volumes: { title: "Volumes", page: VolumesPage },
  snapshots: { title: "Snapshots", page: SnapshotsPage },
  vms: { title: "Machines", page: VmsPage },
  hosts: { title: "Hosts", page: HostsPage },
  devices: { title: "Devices", page: DevicesPage },
  health: { title: "Health", page: HealthPage },
  simulator: { title: "Simulator", page: SimulatorPage, isWhole: true },
  events: { title: "Events", page: EventsPage },
  audit: { title: "Audit log", page: AuditPage },
  access: { title: "Access", page: AccessPage },
  settings: { title: "Settings", page: SettingsPage },
};

export function App(): ReactNode {
  const cluster = useSyncExternalStore(subscribe, snapshot);
  const place = usePlace();
  useEffect(watchCluster, []);
  const heading = useRef<HTMLHeadingElement>(null);
  const entry = pages[place.page];
  const subject = entry?.isWhole === true ? undefined : place.name;
  const where = `${place.page}/${subject ?? ""}`;
  const last = useRef(where);
  const { refusal } = cluster;
  const isUnknown = refusal !== undefined && wantsToken(refusal);
  const title = entry === undefined ? "Nothing here" : (subject ?? entry.title);
  useEffect(() => {
    document.title = `${title} · Drystone`;
    // Readers of the page are told of the new one; not at the first.
    if (last.current !== where) heading.current?.focus();
    last.current = where;
  }, [title, where]);
  return (
    <ActionsProvider>
      <a className="skip" href="#main" onClick={(event) => skip(event, heading.current)}>
        Skip to the content
      </a>
      <div className="frame">
        <Side current={place.page} cluster={cluster} />
        <main id="main">
          {!isUnknown && <Trouble cluster={cluster} />}
          <div className="title">
            <h1 ref={heading} tabIndex={-1}>
              {subject !== undefined && entry !== undefined && (
                <a className="crumb" href={href(place.page)}>
                  {entry.title}
                </a>
              )}
              {title}
            </h1>
          </div>
          {isUnknown && place.page !== "simulator" && refusal !== undefined ? (
            <Login refusal={refusal} />
          ) : entry === undefined ? (
            <p className="empty">
              There is no such page. <a href={href("overview")}>Go to the overview</a>
            </p>
          ) : (
            <entry.page cluster={cluster} name={place.name} />
          )}
        </main>
      </div>
    </ActionsProvider>
  );
}

function skip(event: { preventDefault: () => void }, heading: HTMLElement | null): void {
  event.preventDefault();
  heading?.focus();
}

function Side({ current, cluster }: { current: string; cluster: ClusterState }): ReactNode {
  const { status, isLive } = cluster;
  const links = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a phone not all pages fit side by side.
    const link = links.current?.querySelector("[aria-current]");
    link?.scrollIntoView({ inline: "center", block: "nearest" });
  }, [current]);
  return (
    <div className="side">
      <header className="brand">
        <img src="/icon.svg" alt="" width="28" height="28" />
        <span>Drystone</span>
      </header>
      <nav aria-label="Pages" ref={links}>
        {Object.entries(pages).map(([name, { title }]) => (
          <a key={name} href={href(name)} aria-current={name === current ? "page" : undefined}>
            <Icon name={name} />
            {title}
          </a>
        ))}
      </nav>
      <footer>
        {status !== undefined && <Chip tone={healthTones[status.health]}>{status.health}</Chip>}
        <span className={isLive ? "live on" : "live"}>
          <span className="dot" aria-hidden="true" />
          {isLive ? "Live" : "Not live"}
        </span>
        <ThemeChoice />
        {hasToken() && (
          <button type="button" className="small" onClick={forget}>
            Forget the token
          </button>
        )}
        {status !== undefined && <small>Version {status.version}</small>}
      </footer>
    </div>
  );
}

function forget(): void {
  setToken(undefined);
  window.location.reload();
}

/** While the host does not answer, what is shown is old. */
function Trouble({ cluster }: { cluster: ClusterState }): ReactNode {
  const { refusal } = cluster;
  if (refusal === undefined) return null;
  return (
    <p className="trouble" role="alert">
      <strong>{refusal.message}</strong> {refusal.hint} What you see is what was known last; it is
      asked again every two seconds.
    </p>
  );
}

type Theme = "system" | "light" | "dark";
const themes: readonly Theme[] = ["system", "light", "dark"];
const THEME_KEY = "drystone-theme";

function storedTheme(): Theme {
  const stored = window.localStorage.getItem(THEME_KEY);
  return themes.find((theme) => theme === stored) ?? "system";
}

function ThemeChoice(): ReactNode {
  const [theme, setTheme] = useState(storedTheme);
  useEffect(() => {
    if (theme === "system") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.setAttribute("data-theme", theme);
    window.localStorage.setItem(THEME_KEY, theme);
  }, [theme]);
  return (
    <label className="theme">
      <span className="hidden">Colours</span>
      <select
        value={theme}
        onChange={(event) => setTheme(themes.find((one) => one === event.target.value) ?? "system")}
      >
        <option value="system">As the system</option>
        <option value="light">Light</option>
        <option value="dark">Dark</option>
      </select>
    </label>
  );
}
