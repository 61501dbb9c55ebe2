/** How far an upgrade of the cluster's hosts is, and its end. */
import {
  CLUSTER_VERSION_NEWEST,
  finalizeVersion,
  listHosts,
  readClusterVersion,
  versionKnownBy,
} from "../../cluster/index.ts";
import type { Directory } from "../../ports/index.ts";
import type { NewEvent } from "../api/event-ring.ts";
import type { Handlers } from "../api/http-api.ts";
import type { UpgradeView } from "./upgrade-views.ts";

interface UpgradeControlWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly events: { add(event: NewEvent): unknown };
}

export function upgradeHandlers(
  world: UpgradeControlWorld,
): Pick<Handlers, "upgrade.show" | "upgrade.finalize"> {
  const { directory, clusterId, events } = world;
  return {
    "upgrade.show": () => viewOf(world),
    "upgrade.finalize": async () => {
      const before = await readClusterVersion(directory, clusterId);
      const version = await finalizeVersion(directory, clusterId);
      if (version > before) {
        const message = `the cluster has version ${version} now; older hosts do not start any more`;
        events.add({ level: "info", kind: "upgrade-finalized", message, details: { version } });
      }
      return await viewOf(world);
    },
  };
}

async function viewOf({ directory, clusterId }: UpgradeControlWorld): Promise<UpgradeView> {
  const clusterVersion = await readClusterVersion(directory, clusterId);
  const hosts = (await listHosts(directory, clusterId)).map((host) => ({
    host: host.name,
    clusterVersion: versionKnownBy(host),
    ...(host.programVersion === undefined ? {} : { version: host.programVersion }),
  }));
  return {
    clusterVersion,
    isFinal: clusterVersion === CLUSTER_VERSION_NEWEST,
    mayFinalize: hosts.every((host) => host.clusterVersion > clusterVersion),
    hosts,
  };
}
