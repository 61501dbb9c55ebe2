/** The embedded directory keeps what the port promises, over the simulated metadata store. */
import { directoryConformance } from "../../test/conformance/directory.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { EmbeddedDirectory } from "./index.ts";

for (const seed of [1, 2, 3]) {
  directoryConformance(`EmbeddedDirectory over SimMetadataStore, seed ${seed}`, async () => {
    const simulation = new Simulation({ seed });
    const machine = new SimMachine(simulation);
    const medium = new MetadataMedium();
    let store = new SimMetadataStore(machine, medium);
    return {
      clock: machine.clock,
      directory: await EmbeddedDirectory.open(store, machine.clock),
      reopen: async () => {
        await store.close();
        store = new SimMetadataStore(machine, medium);
        return await EmbeddedDirectory.open(store, machine.clock);
      },
      run: (work) => simulation.run(work),
      dispose: async () => {},
    };
  });
}
