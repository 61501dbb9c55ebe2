/** A server of one volume in memory, in this process, for tools that talk NBD. */
import * as path from "node:path";
import type { TestContext } from "node:test";
import { NbdServer, SingleExport } from "../../src/frontend/index.ts";
import { StartTlsNetwork } from "../../src/platform/index.ts";
import type { StartTlsOptions } from "../../src/platform/index.ts";
import type { NetworkAddress } from "../../src/ports/index.ts";
import { MemoryVolume } from "../nbd/memory-volume.ts";
import { quietPorts } from "../nbd/quiet-ports.ts";
import { temporaryFolder } from "./harness.ts";

export interface Served {
  readonly volume: MemoryVolume;
  readonly server: NbdServer;
  readonly uri: string;
  readonly socket: string;
  /** A folder for the test's files. */
  readonly folder: string;
}

interface ServeOptions {
  readonly sizeBytes: number;
  readonly readOnly?: boolean;
  readonly tcp?: boolean;
  /** Whom clients have to prove to be; over TCP. */
  readonly tls?: StartTlsOptions;
}

const CLOSE_MS = 2000;

export async function serve(t: TestContext, options: ServeOptions): Promise<Served> {
  const folder = temporaryFolder(t);
  const socket = path.join(folder, "nbd.sock");
  const volume = new MemoryVolume({
    sizeBytes: options.sizeBytes,
    readOnly: options.readOnly ?? false,
    completions: "after-submit",
  });
  const wanted: NetworkAddress =
    options.tcp === true || options.tls !== undefined
      ? { kind: "tcp", host: "127.0.0.1", port: 0 }
      : { kind: "unix", path: socket };
  const catalog = new SingleExport(volume, "a volume in memory");
  const ports = quietPorts();
  const network = options.tls === undefined ? ports.network : new StartTlsNetwork(options.tls);
  const server = await NbdServer.listen({ ...ports, network }, catalog, {
    address: wanted,
    requiresTls: options.tls !== undefined,
  });
  t.after(() => server.close(CLOSE_MS));
  const { address } = server;
  const uri =
    address.kind === "tcp"
      ? `nbd://127.0.0.1:${address.port}/v1`
      : `nbd+unix:///v1?socket=${socket}`;
  return { volume, server, uri, socket, folder };
}
