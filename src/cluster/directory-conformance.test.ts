/** The directories of this floor keep what the port promises. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { directoryConformance } from "../../test/conformance/directory.ts";
import type { DirectoryWorld } from "../../test/conformance/directory.ts";
import { LmdbMetadataStore, NodeClock, StreamNetwork } from "../platform/index.ts";
import type { Clock, Directory, Network, NetworkAddress } from "../ports/index.ts";
import {
  MetadataMedium,
  NetworkFabric,
  SimMachine,
  SimMetadataStore,
  SimNetwork,
  Simulation,
} from "../sim/index.ts";
import { EmbeddedDirectory, RemoteDirectoryClient, ServedDirectory } from "./index.ts";

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

  directoryConformance(`RemoteDirectoryClient over SimNetwork, seed ${seed}`, async () => {
    const simulation = new Simulation({ seed, buggify: seed > 1 });
    const fabric = new NetworkFabric(simulation);
    const server = new SimMachine(simulation);
    const client = new SimMachine(simulation);
    const store = new SimMetadataStore(server, new MetadataMedium());
    const remote = await simulation.run(
      served({
        embedded: await EmbeddedDirectory.open(store, server.clock),
        serverNetwork: new SimNetwork(server, fabric, ["10.0.0.1"]),
        address: { kind: "tcp", host: "10.0.0.1", port: 7000 },
        clientNetwork: new SimNetwork(client, fabric, ["10.0.0.2"]),
        clock: client.clock,
      }),
    );
    return { ...remote, run: (work) => simulation.run(work), dispose: async () => {} };
  });
}

for (const kind of ["tcp", "unix"] as const) {
  directoryConformance(`RemoteDirectoryClient over ${kind}`, async () => {
    const folder = mkdtempSync("/var/tmp/drystone-directory-");
    const store = await LmdbMetadataStore.open(join(folder, "metadata"));
    const clock = new NodeClock();
    const network = new StreamNetwork();
    const embedded = await EmbeddedDirectory.open(store, clock);
    const remote = await served({
      embedded,
      serverNetwork: network,
      address:
        kind === "tcp"
          ? { kind, host: "127.0.0.1", port: 0 }
          : { kind, path: join(folder, "socket") },
      clientNetwork: network,
      clock,
    });
    return {
      ...remote,
      run: (work) => work(),
      dispose: async () => {
        await remote.close();
        await embedded.close();
        await store.close();
        rmSync(folder, { recursive: true });
      },
    };
  });
}

interface Served {
  readonly embedded: Directory;
  readonly serverNetwork: Network;
  readonly address: NetworkAddress;
  readonly clientNetwork: Network;
  readonly clock: Clock;
}

/** A client of a directory that is served; another one when it is opened again. */
async function served(
  parts: Served,
): Promise<Pick<DirectoryWorld, "directory" | "clock" | "reopen"> & { close(): Promise<void> }> {
  const { embedded, serverNetwork, clientNetwork, clock } = parts;
  const server = await ServedDirectory.listen({
    directory: embedded,
    network: serverNetwork,
    address: parts.address,
    clock,
    incarnation: "one",
  });
  const clients: Directory[] = [];
  const open = (): Directory => {
    const { address } = server;
    const client = new RemoteDirectoryClient({ network: clientNetwork, address, clock });
    clients.push(client);
    return client;
  };
  return {
    directory: open(),
    clock,
    reopen: async () => open(),
    close: async () => {
      for (const client of clients) await client.close();
      await server.close();
    },
  };
}
