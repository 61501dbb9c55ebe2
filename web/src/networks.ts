/** From what each host sees of the others to what the networks are like. */
import type { NetworkHostView, NetworkView } from "../../src/host/index.ts";

export type NetworkName = "storage" | "management";

/** Undefined where nobody can tell, since the host does not answer or has no such network. */
export function sees(
  from: NetworkHostView,
  to: string,
  network: NetworkName,
): "up" | "down" | undefined {
  return from.sees?.find(({ host }) => host === to)?.[network];
}

function pairIsUp(a: NetworkHostView, b: NetworkHostView, network: NetworkName): boolean {
  const both = [sees(a, b.name, network), sees(b, a.name, network)];
  return both.includes("up") && !both.includes("down");
}

export type Cable = "up" | "part" | "down";

/** Whether a host's cable carries: to all others that somebody reaches, to some, or to none. */
export function cableOf(view: NetworkView, host: NetworkHostView, network: NetworkName): Cable {
  const silent = silentHosts(view);
  const others = view.hosts.filter((other) => {
    return other !== host && (silent.includes(host) || !silent.includes(other));
  });
  const reached = others.filter((other) => pairIsUp(host, other, network));
  if (reached.length === others.length) return "up";
  return reached.length === 0 ? "down" : "part";
}

export function hasNetwork(view: NetworkView, network: NetworkName): boolean {
  const address = network === "storage" ? "storageAddress" : "managementAddress";
  return view.hosts.some((host) => host[address] !== undefined);
}

/** Hosts that do not answer and that nobody reaches: they are off rather than cut off. */
export function silentHosts({ hosts }: NetworkView): readonly NetworkHostView[] {
  return hosts.filter((host) => {
    if (host.sees !== undefined) return false;
    return !hosts.some((other) => {
      return (
        sees(other, host.name, "storage") === "up" || sees(other, host.name, "management") === "up"
      );
    });
  });
}

/** Groups of hosts that reach one another, the largest first; one group on a whole network. */
export function groups(view: NetworkView, network: NetworkName): readonly (readonly string[])[] {
  const silent = silentHosts(view);
  const left = new Set(view.hosts.filter((host) => !silent.includes(host)));
  const found: string[][] = [];
  for (const first of left) {
    const group = [first];
    left.delete(first);
    for (const one of group) {
      for (const other of left) {
        if (!pairIsUp(one, other, network)) continue;
        left.delete(other);
        group.push(other);
      }
    }
    found.push(group.map(({ name }) => name));
  }
  return found.toSorted((a, b) => b.length - a.length);
}
