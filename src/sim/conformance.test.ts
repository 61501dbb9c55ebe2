/** The simulated adapters keep what the ports promise. */
import { DISK_CONFORMANCE_BYTES, diskConformance } from "../../test/conformance/disk.ts";
import { metadataStoreConformance } from "../../test/conformance/metadata-store.ts";
import {
  DiskMedium,
  MetadataMedium,
  SimDisk,
  SimMachine,
  SimMetadataStore,
  Simulation,
} from "./index.ts";

diskConformance("SimDisk", async () => {
  const machine = new SimMachine(new Simulation({ seed: 1 }));
  const medium = new DiskMedium({ sizeBytes: DISK_CONFORMANCE_BYTES });
  return {
    disk: new SimDisk(machine, medium),
    reopen: async () => new SimDisk(machine, medium),
    run: (work) => machine.simulation.run(work),
    dispose: async () => {},
  };
});

metadataStoreConformance("SimMetadataStore", async () => {
  const machine = new SimMachine(new Simulation({ seed: 1 }));
  const medium = new MetadataMedium();
  return {
    store: new SimMetadataStore(machine, medium),
    reopen: async () => new SimMetadataStore(machine, medium),
    run: (work) => machine.simulation.run(work),
    dispose: async () => {},
  };
});
