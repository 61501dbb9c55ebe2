/**
 * A client machine's relay, as a process of its own: offers the volume `demo` at a socket and
 * reaches it wherever it is served. Arguments: the socket, then API=SOCKET of each host. The
 * certificate to show is where DRYSTONE_TLS says.
 */
import { apiAddress } from "../../src/cli/api-address.ts";
import { NbdServer, RelayVolume, SingleExport } from "../../src/frontend/index.ts";
import { locateDemo } from "../../src/host/dev/dev-demo.ts";
import { JsonLog, NodeClock, StreamNetwork } from "../../src/platform/index.ts";

async function main(): Promise<void> {
  const [path = "", ...hostArguments] = process.argv.slice(2);
  const hosts = hostArguments.map((text, index) => {
    const [api = "", socket = ""] = text.split("=");
    return { name: `h${index + 1}`, api, socket, tls: apiAddress(api).options };
  });
  const clock = new NodeClock();
  const log = new JsonLog(process.stderr);
  const network = new StreamNetwork();
  const relay = await RelayVolume.open("demo", {
    clock,
    log,
    locate: () => locateDemo(hosts),
    connect: (server) => network.connect({ kind: "unix", path: server }),
  });
  await NbdServer.listen({ network, clock, log }, new SingleExport(relay.volume, "demo"), {
    address: { kind: "unix", path },
  });
  process.stdout.write("ready\n");
}

await main();
