/** The handler of `whatif fail`: asks the rules that would decide. */
import { listServices, listVms, readHaSettings, readSettings } from "../../cluster/index.ts";
import {
  foreseeFailure,
  hostsOnDuty,
  HostViews,
  longestLeaseMs,
  unheardHosts,
} from "../../ha/index.ts";
import type { Foreseen } from "../../ha/index.ts";
import type { DataPlaneMethods } from "../data/data-plane-port.ts";
import type { Handlers } from "../api/http-api.ts";
import type { RpcPeer } from "../data/rpc.ts";
import type { VmControlWorld } from "../machines/vm-control.ts";
import type { WhatIfMachine, WhatIfView } from "./what-if-shapes.ts";

const SECOND_MS = 1000;

type WhatIfWorld = Pick<VmControlWorld, "directory" | "clock" | "clusterId" | "hostNames"> & {
  readonly plane: Pick<RpcPeer<object, DataPlaneMethods>, "call">;
};

export function whatIfHandlers(world: WhatIfWorld): Pick<Handlers, "whatif.fail"> {
  return { "whatif.fail": ({ name }) => whatIfHostFails(world, name) };
}

async function whatIfHostFails(world: WhatIfWorld, host: string): Promise<WhatIfView> {
  const { directory, clusterId, plane } = world;
  const asked = { kind: "host", name: host, isDryRun: true } as const;
  const now = await plane.call("takeOut", { ...asked, mode: "none" });
  const later = await plane.call("takeOut", { ...asked, mode: "evacuate" });
  const { repairDelayMs } = await readSettings(directory, clusterId);
  const { secondsAtMost } = later;
  return {
    host: now.host,
    machines: await machinesOf(world, now.id, new Set(now.unusable)),
    unusable: now.unusable,
    atRisk: now.atRisk,
    rebuilds: later.components.map((one) => ({
      volume: one.volume,
      bytes: one.bytes,
      ...(one.host === undefined ? {} : { host: one.host }),
    })),
    rebuildAfterSeconds: repairDelayMs / SECOND_MS,
    bytesAtMost: later.bytesAtMost,
    ...(secondsAtMost === undefined ? {} : { rebuildSecondsAtMost: secondsAtMost }),
  };
}

async function machinesOf(
  { directory, clock, clusterId, hostNames }: WhatIfWorld,
  failed: string,
  unusable: ReadonlySet<string>,
): Promise<readonly WhatIfMachine[]> {
  const names = await hostNames();
  const nameOf = (hostId: string): string => names.get(hostId) ?? hostId;
  const { vms } = await listVms(directory, clusterId);
  const { settings } = await readHaSettings(directory, clusterId);
  const services = await listServices(directory, clusterId);
  const input = {
    vms,
    alive: await hostsOnDuty(directory, clusterId),
    views: await HostViews.read(directory, clusterId),
    closed: new Set(services.map(({ id }) => id)),
    wallMs: Math.round(clock.wallMs()),
    nameOf,
    isArmed: settings.isArmed,
    ...(await unheardHosts(directory, clusterId)),
  };
  const leaseMs = await longestLeaseMs(directory, clusterId, failed);
  return foreseeFailure(input, failed, unusable, { leaseMs }).map((one) => viewOf(one, nameOf));
}

function viewOf(
  { vm, outcome, hostId, afterMs, because }: Foreseen,
  nameOf: (hostId: string) => string,
): WhatIfMachine {
  return {
    name: vm,
    outcome,
    ...(hostId === undefined ? {} : { host: nameOf(hostId) }),
    ...(afterMs === undefined ? {} : { afterSeconds: afterMs / SECOND_MS }),
    because,
  };
}
