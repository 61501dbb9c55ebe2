/** What operators do while other things go wrong: nothing of it may cost anybody's data. */
import { dropService, putService } from "../cluster/index.ts";
import type { ServiceMode } from "../cluster/index.ts";
import type { FaultKind } from "./fault.ts";
import { CLUSTER_ID } from "./names.ts";
import type { TrialWorld } from "./trial-world.ts";

const RETRY_MS = 500;

/** Tried again while the directory is down: it ends, whatever happens. */
function backInService(world: TrialWorld, id: string, claim: string): void {
  const { inner } = world.directory;
  const dropped = inner === undefined ? Promise.reject() : dropService(inner, CLUSTER_ID, id);
  dropped
    .then(() => world.release(claim))
    .catch(() => {
      world.simulation.clock.after(RETRY_MS, () => backInService(world, id, claim));
    });
}

export const OPERATOR_FAULTS: readonly FaultKind[] = [
  {
    name: "device-evacuated",
    needs: "either",
    begin: (world, prng) => {
      const { inner } = world.directory;
      const host = prng.pick(world.hosts);
      const claim = `service of the device of ${host.name}`;
      const id = host.device?.deviceId;
      if (inner === undefined || id === undefined || !world.claim(claim)) return undefined;
      putService(inner, CLUSTER_ID, { id, kind: "device", mode: "evacuate" }).catch(() => {
        world.trace.add("fault", `the device of ${host.name} stays in service`);
      });
      return {
        what: `the device of ${host.name} is to be removed`,
        durationMs: prng.between(2000, 30_000),
        end: () => backInService(world, id, claim),
      };
    },
  },
  {
    name: "host-evacuated",
    needs: "either",
    begin: (world, prng) => {
      const { inner } = world.directory;
      const host = prng.pick(world.hosts);
      const claim = `service of ${host.name}`;
      if (inner === undefined || !world.claim(claim)) return undefined;
      const mode: ServiceMode = prng.chance(0.7) ? "evacuate" : "ensure-accessibility";
      const { hostId } = host;
      putService(inner, CLUSTER_ID, { id: hostId, kind: "host", mode }).catch(() => {
        world.trace.add("fault", `${host.name} stays in service`);
      });
      return {
        what: `${host.name} is taken out of service (${mode})`,
        durationMs: prng.between(2000, 30_000),
        end: () => backInService(world, hostId, claim),
      };
    },
  },
];
