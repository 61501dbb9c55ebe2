/** Which hosts of a development cluster are cut off from which on which network. */
import { CodedError } from "../../base/index.ts";

export const DEV_NETWORKS = ["storage", "management", "both"] as const;
export type DevNetwork = (typeof DEV_NETWORKS)[number];

export function isDevNetwork(text: string): text is DevNetwork {
  return DEV_NETWORKS.some((network) => network === text);
}

interface Cut {
  readonly network: DevNetwork;
  readonly hosts: ReadonlySet<string>;
}

export class DevCuts {
  #cuts: readonly Cut[] = [];

  /** One more; those that there are stay. Fails with `usage`. */
  add(network: DevNetwork, hosts: readonly string[], allHosts: readonly string[]): void {
    const named = new Set(hosts);
    if (named.size >= allHosts.length && network !== "management")
      throw new CodedError({
        code: "usage",
        message: "all hosts are named: there is nobody left whom they could be cut off",
        hint: "Name one side of the partition",
      });
    this.#cuts = [...this.#cuts, { network, hosts: named }];
  }

  heal(): void {
    this.#cuts = [];
  }

  /** Whether the two cannot reach each other over this network. */
  areApart(one: string, other: string, over: "storage" | "management"): boolean {
    return this.#cuts.some(
      ({ network, hosts }) =>
        (network === over || network === "both") && hosts.has(one) !== hosts.has(other),
    );
  }

  /** Whether the host cannot reach the directory, which stays with those that are not named. */
  isWithoutDirectory(host: string): boolean {
    return this.#cuts.some(({ network, hosts }) => network !== "storage" && hosts.has(host));
  }
}
