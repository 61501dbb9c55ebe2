/** The directory of a trial, on a machine of its own that fails like any other. */
import { EmbeddedDirectory, ServedDirectory } from "../cluster/index.ts";
import type { NetworkAddress } from "../ports/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, SimNetwork } from "../sim/index.ts";
import { stackOf } from "./trial-host.ts";
import type { TrialWorld } from "./trial-world.ts";

const FAST_COMMIT = { minMs: 0.3, maxMs: 2 };

export class TrialDirectory {
  readonly host = "10.2.0.200";
  readonly address: NetworkAddress = { kind: "tcp", host: this.host, port: 2379 };
  machine: SimMachine;
  readonly #world: TrialWorld;
  readonly #medium = new MetadataMedium();
  #store: SimMetadataStore | undefined;
  #embedded: EmbeddedDirectory | undefined;
  #starts = 0;

  constructor(world: TrialWorld) {
    this.#world = world;
    this.machine = new SimMachine(world.simulation);
  }

  /** For checks, past the network; undefined while it is down. */
  get inner(): EmbeddedDirectory | undefined {
    return this.#embedded;
  }

  async start(): Promise<void> {
    const { machine } = this;
    const network = new SimNetwork(machine, this.#world.fabric, [this.host]);
    const store = new SimMetadataStore(machine, this.#medium, { commitLatency: FAST_COMMIT });
    this.#store = store;
    const { clock } = machine;
    const embedded = await EmbeddedDirectory.open(store, clock);
    await ServedDirectory.listen({
      directory: embedded,
      network,
      address: this.address,
      clock,
      incarnation: `run ${++this.#starts}`,
    });
    this.#embedded = embedded;
    this.#world.trace.add("directory", "is up");
  }

  restart(): void {
    this.start().catch((error: unknown) => {
      this.#world.fail("crash", `the directory does not start: ${stackOf(error)}`);
    });
  }

  cutPower(): void {
    this.#embedded = undefined;
    this.#store = undefined;
    this.machine.cutPower({ kind: "random", seed: this.#world.prng.u32() });
    this.machine = new SimMachine(this.#world.simulation);
    this.#world.trace.add("directory", "lost power");
  }

  /** Fault: each transaction takes as long as this, until it is put right. */
  slowDown(commitMs: number): () => void {
    const store = this.#store;
    if (store !== undefined) store.commitLatency = { minMs: commitMs / 2, maxMs: commitMs };
    return () => {
      if (store !== undefined) store.commitLatency = FAST_COMMIT;
    };
  }
}
