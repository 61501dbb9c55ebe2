/**
 * What is the matter with hosts and networks, told from whom each host hears on each network and
 * who holds a lease. A host's links on the storage network are its heartbeat in storage: whoever
 * hears it there can be asked, so a host that has failed, one that is isolated, and a split of
 * either network are four different things.
 */

/** What one host hears of another one. */
export interface Heard {
  readonly host: string;
  readonly storage: "up" | "down";
  /** Absent where the management network is not a second one. */
  readonly management?: "up" | "down";
}

export interface HostSight {
  readonly host: string;
  /** Whether it holds its lease in the directory, as the host that judges has read. */
  readonly lease: "held" | "lost" | "unknown";
  /** Absent if it could not be asked on any network. */
  readonly hears?: readonly Heard[];
}

export type HostConditionKind =
  /** Nobody hears it, and its lease has ended. */
  | "host-failed"
  /** Nobody hears it, and its lease lives, or cannot be read. */
  | "host-silent"
  /** It is heard in storage alone, or it is the one that judges and hears nobody. */
  | "host-isolated"
  | "management-partition"
  | "storage-partition";

export interface HostCondition {
  readonly kind: HostConditionKind;
  readonly hosts: readonly string[];
  readonly message: string;
  readonly meaning: string;
  readonly action: string;
}

type NetworkName = "storage" | "management";

/** Nothing, if every host hears every other one. `judge` is the host that asked. */
export function judgeHosts(asked: readonly HostSight[], judge: string): readonly HostCondition[] {
  if (asked.length < 2) return [];
  const sights = asked.toSorted((a, b) => (a.host < b.host ? -1 : 1));
  const all = sights.map(({ host }) => host);
  const hearing = new Hearing(sights);
  const silent = all.filter((host) => hearing.isUnheard(host, all));
  const own = sights.find(({ host }) => host === judge);
  // If it has no lease it is this host that is cut off, and of the others nothing is known.
  if (own !== undefined && silent.includes(judge) && own.lease !== "held")
    return [selfIsolated(judge)];
  const there = all.filter((host) => !silent.includes(host));
  return [
    ...sights
      .filter(({ host, lease }) => silent.includes(host) && !(host === judge && lease === "held"))
      .map(unheard),
    ...(hearing.hasManagement ? managementConditions(sights, there, hearing) : []),
    ...partitions("storage", there, hearing),
  ];
}

class Hearing {
  readonly hasManagement: boolean;
  readonly #heard = new Map<string, ReadonlyMap<string, Heard>>();

  constructor(sights: readonly HostSight[]) {
    for (const { host, hears } of sights)
      if (hears !== undefined)
        this.#heard.set(host, new Map(hears.map((one) => [one.host, one] as const)));
    const said = sights.flatMap(({ hears }) => hears ?? []);
    this.hasManagement = said.some(({ management }) => management !== undefined);
  }

  /** As each end says that could be asked; false if neither could. */
  areLinked(one: string, other: string, network: NetworkName): boolean {
    const said = [this.#says(one, other, network), this.#says(other, one, network)];
    const known = said.filter((state) => state !== undefined);
    return known.length > 0 && known.every((state) => state === "up");
  }

  /** Neither end could be asked, so nothing is known of the way between them. */
  isUnknown(one: string, other: string): boolean {
    return !this.#heard.has(one) && !this.#heard.has(other);
  }

  heardBy(host: string, among: readonly string[], network: NetworkName): readonly string[] {
    return among.filter((other) => other !== host && this.areLinked(host, other, network));
  }

  isUnheard(host: string, among: readonly string[]): boolean {
    const networks = this.hasManagement
      ? (["storage", "management"] as const)
      : ["storage" as const];
    return networks.every((network) => this.heardBy(host, among, network).length === 0);
  }

  #says(one: string, other: string, network: NetworkName): "up" | "down" | undefined {
    return this.#heard.get(one)?.get(other)?.[network];
  }
}

function selfIsolated(judge: string): HostCondition {
  return {
    kind: "host-isolated",
    hosts: [judge],
    message: `${judge} hears no other host on any network and holds no lease`,
    meaning:
      "this host is cut off: its machines stand still, shut down or are off, as each was told, " +
      "and others start the protected ones",
    action: "check this host's cables and addresses on both networks",
  };
}

function unheard({ host, lease }: HostSight): HostCondition {
  if (lease === "lost")
    return {
      kind: "host-failed",
      hosts: [host],
      message: `nobody hears ${host} on any network, and its lease has ended`,
      meaning:
        "the host has failed, or is cut off from everything: its protected machines are started " +
        "elsewhere, and volumes go on with the other copies",
      action: `start ${host} again, or check its power and both of its cables`,
    };
  const said = lease === "held" ? "its lease still lives" : "its lease cannot be read from here";
  return {
    kind: "host-silent",
    hosts: [host],
    message: `nobody hears ${host} on any network, and ${said}`,
    meaning:
      lease === "held"
        ? "the host has failed within the last seconds, or runs and both of its networks are cut"
        : "without the directory a host that has failed cannot be told from one that is cut off",
    action:
      lease === "held"
        ? `wait some seconds; if it stays so, check both cables of ${host}`
        : "bring the directory back first, or check the way to it",
  };
}

/** One host without the management network is isolated; several on each side are a partition. */
function managementConditions(
  sights: readonly HostSight[],
  there: readonly string[],
  hearing: Hearing,
): readonly HostCondition[] {
  const alone = there.filter((host) => hearing.heardBy(host, there, "management").length === 0);
  const isAllAlone = alone.length === there.length;
  const isolated = isAllAlone ? [] : alone;
  const rest = there.filter((host) => !isolated.includes(host));
  return [
    ...isolated.map((host) => {
      const by = hearing.heardBy(host, there, "storage");
      return isolation(host, by, sights.find((sight) => sight.host === host)?.lease);
    }),
    ...partitions("management", rest, hearing),
  ];
}

function isolation(
  host: string,
  by: readonly string[],
  lease: HostSight["lease"] | undefined,
): HostCondition {
  return {
    kind: "host-isolated",
    hosts: [host],
    message:
      `${host} is heard in storage by ${by.join(", ")}, ` +
      "and over the management network by nobody",
    meaning:
      lease === "lost"
        ? "the host runs and has no lease: its machines stand still, shut down or are off, as " +
          "each was told, and the protected ones are started elsewhere"
        : "the host runs, and so do its machines as long as it holds its lease",
    action: `check the cable and the address of ${host} on the management network`,
  };
}

function partitions(
  network: NetworkName,
  hosts: readonly string[],
  hearing: Hearing,
): readonly HostCondition[] {
  const sides = sidesOf(network, hosts, hearing);
  const kind = `${network}-partition` as const;
  const rest = {
    kind,
    meaning:
      network === "storage"
        ? "all these hosts run; a machine runs on the side that has more than half of the votes " +
          "and a whole copy of each of its disks, and is moved there"
        : "all these hosts run and reach each other's data; those that reach the directory " +
          "decide, and machines of hosts without a lease do not execute",
    action: `check the switches and cables of the ${network} network between the sides`,
  };
  if (sides.length > 1) {
    const text = sides.map((side) => side.join(", ")).join(" | ");
    return [{ ...rest, hosts, message: `the ${network} network is split: ${text}` }];
  }
  const apart = hosts.flatMap((one, i) =>
    hosts
      .slice(i + 1)
      .filter((other) => !hearing.areLinked(one, other, network) && !hearing.isUnknown(one, other))
      .map((other) => [one, other] as const),
  );
  return apart.map((pair) => {
    const message = `${pair.join(" and ")} do not hear each other over the ${network} network`;
    return { ...rest, hosts: pair, message };
  });
}

/** Hosts that hear each other, if need be through others. */
function sidesOf(
  network: NetworkName,
  hosts: readonly string[],
  hearing: Hearing,
): readonly (readonly string[])[] {
  const left = new Set(hosts);
  const sides: string[][] = [];
  for (const first of hosts) {
    if (!left.delete(first)) continue;
    const side = [first];
    for (const host of side)
      for (const other of [...left])
        if (hearing.areLinked(host, other, network)) {
          left.delete(other);
          side.push(other);
        }
    sides.push(side.toSorted());
  }
  return sides;
}
