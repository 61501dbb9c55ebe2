/** The simulated adapters keep what the ports promise. */
import { clockConformance } from "../../test/conformance/clock.ts";
import { digestsConformance } from "../../test/conformance/digests.ts";
import { DISK_CONFORMANCE_BYTES, diskConformance } from "../../test/conformance/disk.ts";
import { metadataStoreConformance } from "../../test/conformance/metadata-store.ts";
import { metricsConformance } from "../../test/conformance/metrics.ts";
import { networkConformance } from "../../test/conformance/network.ts";
import type { World } from "../../test/conformance/world.ts";
import {
  DiskMedium,
  MetadataMedium,
  NetworkFabric,
  SimDigests,
  SimDisk,
  SimMachine,
  SimMetadataStore,
  SimMetrics,
  SimNetwork,
  Simulation,
} from "./index.ts";

function simulated(seed = 1, buggify = false): World & { machine: SimMachine } {
  const simulation = new Simulation({ seed, buggify });
  return {
    machine: new SimMachine(simulation),
    run: (work) => simulation.run(work),
    dispose: async () => {},
  };
}

for (const [seed, buggify] of [
  [1, false],
  [2, true],
  [3, true],
] as const) {
  const name = buggify ? `behaving oddly after seed ${seed}` : `seed ${seed}`;

  diskConformance(`SimDisk, ${name}`, async () => {
    const world = simulated(seed, buggify);
    const medium = new DiskMedium({ sizeBytes: DISK_CONFORMANCE_BYTES });
    return {
      ...world,
      disk: new SimDisk(world.machine, medium),
      reopen: async () => new SimDisk(world.machine, medium),
    };
  });

  metadataStoreConformance(`SimMetadataStore, ${name}`, async () => {
    const world = simulated(seed, buggify);
    const medium = new MetadataMedium();
    return {
      ...world,
      store: new SimMetadataStore(world.machine, medium),
      reopen: async () => new SimMetadataStore(world.machine, medium),
    };
  });
}

clockConformance("SimClock", async () => {
  const world = simulated();
  return { ...world, clock: world.machine.clock };
});

digestsConformance("SimDigests", async () => {
  const world = simulated();
  const disk = new SimDisk(world.machine, new DiskMedium({ sizeBytes: 1 << 20 }));
  return {
    ...world,
    digests: new SimDigests(world.machine),
    allocate: (lengthBytes) => disk.allocate(lengthBytes),
  };
});

metricsConformance("SimMetrics", async () => {
  const metrics = new SimMetrics();
  return { ...simulated(), metrics, read: (name, labels) => metrics.read(name, labels) };
});

for (const kind of ["tcp", "unix"] as const) {
  networkConformance(`SimNetwork over ${kind}`, async () => {
    const world = simulated();
    const fabric = new NetworkFabric(world.machine.simulation);
    let paths = 0;
    return {
      ...world,
      network: new SimNetwork(world.machine, fabric, ["10.0.0.1"]),
      freshAddress: () =>
        kind === "tcp"
          ? { kind, host: "127.0.0.1", port: 0 }
          : { kind, path: `/run/test-${paths++}` },
    };
  });
}
