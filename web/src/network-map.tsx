/** Both networks as a picture: a line for each, every host with a cable to it, cut where it is. */
import { useEffect, useState } from "react";
import type { ReactNode } from "react";
import type { NetworkHostView, NetworkView } from "../../src/host/index.ts";
import { call, Refusal } from "./api.ts";
import { byName } from "../../src/base/natural-order.ts";
import { cableOf, groups, hasNetwork, sees, silentHosts } from "./networks.ts";
import type { Cable, NetworkName } from "./networks.ts";
import { Card, Chip } from "./parts.tsx";
import type { Tone } from "./parts.tsx";

/** Beyond it a table of who sees whom is larger than any screen. */
const MATRIX_HOSTS_MAX = 16;

/** Asked anew whenever `version` changes, which is with every answer to the other questions. */
export function useNetworks(version: number): NetworkView | undefined {
  const [view, setView] = useState<NetworkView>();
  useEffect(() => {
    let isGone = false;
    call("network.show", {}).then(
      ({ hosts }) => {
        if (!isGone) setView({ hosts: byName(hosts) });
      },
      (error: unknown) => {
        // That the host does not answer is told at the top of the page.
        if (!(error instanceof Refusal)) throw error;
      },
    );
    return () => {
      isGone = true;
    };
  }, [version]);
  return view;
}

export function NetworkMap({ view }: { view: NetworkView }): ReactNode {
  const networks = (["storage", "management"] as const).filter((one) => hasNetwork(view, one));
  if (networks.length === 0 || view.hosts.length < 2) return null;
  return (
    <Card title="Networks, from what each host sees of the others">
      <ul className="plain map-words" aria-live="polite">
        {networks.map((network) => (
          <li key={network}>
            <Whole view={view} network={network} />
          </li>
        ))}
      </ul>
      <div className="map">
        <Bus network="storage" />
        <ul className="plain map-hosts">
          {view.hosts.map((host) => (
            <MapHost key={host.name} host={host} view={view} networks={networks} />
          ))}
        </ul>
        {networks.includes("management") && <Bus network="management" />}
      </div>
      {view.hosts.length <= MATRIX_HOSTS_MAX && <Matrix view={view} networks={networks} />}
    </Card>
  );
}

const titles: Readonly<Record<NetworkName, string>> = {
  storage: "Storage network",
  management: "Management network",
};

function Bus({ network }: { network: NetworkName }): ReactNode {
  return <div className="bus">{titles[network]}</div>;
}

function Whole({ view, network }: { view: NetworkView; network: NetworkName }): ReactNode {
  const all = groups(view, network);
  const isPart = view.hosts.some((host) => cableOf(view, host, network) === "part");
  const silent = silentHosts(view).map(({ name }) => `${name} does not answer`);
  const [tone, word]: readonly [Tone, string] =
    all.length > 1
      ? ["bad", "split"]
      : isPart
        ? ["warn", "not every host reaches every other one"]
        : silent.length > 0
          ? ["warn", "all hosts that answer reach each other"]
          : ["good", "all hosts reach all"];
  return (
    <span>
      <Chip tone={tone}>
        {titles[network]}: {word}
      </Chip>{" "}
      {all.length > 1 && all.map((group) => group.join(", ")).join(" | ")}
      {silent.length > 0 && ` (${silent.join(", ")})`}
    </span>
  );
}

const cableWords: Readonly<Record<Cable, string>> = {
  up: "reaches all",
  part: "reaches some",
  down: "reaches nobody",
};

const cableTones: Readonly<Record<Cable, Tone>> = { up: "good", part: "warn", down: "bad" };

function MapHost(props: {
  host: NetworkHostView;
  view: NetworkView;
  networks: readonly NetworkName[];
}): ReactNode {
  const { host, view, networks } = props;
  const cable = (network: NetworkName): ReactNode => {
    if (!networks.includes(network)) return null;
    const state = cableOf(view, host, network);
    return (
      <span className={`cable ${cableTones[state]}`}>
        <span className="hidden">{titles[network]}: </span>
        {cableWords[state]}
      </span>
    );
  };
  return (
    <li>
      {cable("storage")}
      <span className={host.sees === undefined ? "box silent" : "box"}>
        <strong>{host.name}</strong>
        <small>{host.sees === undefined ? "does not answer" : "answers"}</small>
      </span>
      {cable("management")}
    </li>
  );
}

function Matrix(props: { view: NetworkView; networks: readonly NetworkName[] }): ReactNode {
  const { view, networks } = props;
  return (
    <div className="scroller" role="group" aria-label="Who sees whom" tabIndex={0}>
      <table className="matrix">
        <thead>
          <tr>
            <th scope="col">Seen from</th>
            {view.hosts.map(({ name }) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {view.hosts.map((from) => (
            <tr key={from.name}>
              <th scope="row">{from.name}</th>
              {view.hosts.map((to) => (
                <td key={to.name} data-head={to.name}>
                  {from === to ? "itself" : <Seen from={from} to={to.name} networks={networks} />}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Seen(props: {
  from: NetworkHostView;
  to: string;
  networks: readonly NetworkName[];
}): ReactNode {
  const { from, to, networks } = props;
  if (from.sees === undefined) return <Chip tone="quiet">not known</Chip>;
  const up = networks.filter((network) => sees(from, to, network) === "up");
  if (up.length === networks.length) return <Chip tone="good">reached</Chip>;
  if (up.length === 0) return <Chip tone="bad">not reached</Chip>;
  return <Chip tone="warn">{up.join(", ")} only</Chip>;
}
