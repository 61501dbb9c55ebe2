/** The management network of a host, as its configuration has it: one more, or none. */
import { CodedError } from "../../base/index.ts";
import { CuttableNetwork, StreamNetwork, TlsNetwork } from "../../platform/index.ts";
import { ManagementNetwork } from "../../plane/index.ts";
import type { HostVerdict } from "../../link/index.ts";
import type { ManagementPeer } from "../../plane/index.ts";
import type { Clock, Directory, Log, Network } from "../../ports/index.ts";
import type { EventRing } from "../api/event-ring.ts";
import type { HostStart } from "../host-process.ts";
import { formatAddress, parseAddress } from "../names.ts";
import type { PlaneIdentity } from "../data/plane-world.ts";
import type { HostTls } from "../certificates/tls-folder.ts";
import { readAnswers } from "./peer-answers.ts";
import { seenHostShape } from "../api/view-shapes.ts";
import type { SeenHostView } from "../api/views.ts";

const ASK_MS = 1000;

export interface HostManagementWorld {
  readonly start: HostStart;
  readonly tls: HostTls | undefined;
  readonly identity: PlaneIdentity;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly events: EventRing;
}

export class HostManagement {
  readonly #address: string | undefined;
  readonly #management: ManagementNetwork | undefined;
  readonly #cuttable: CuttableNetwork | undefined;

  constructor({ start, tls, identity, directory, clock, events }: HostManagementWorld) {
    const { config, cut, log } = start;
    this.#address = config.cluster?.managementAddress;
    if (this.#address === undefined) return;
    const network = hostNetwork(tls, log);
    if (cut !== undefined) this.#cuttable = new CuttableNetwork(network, cut);
    const { clusterId, hostId, incarnation } = identity;
    this.#management = new ManagementNetwork({
      ...{ clock, log, directory, clusterId, hostId, incarnation, parseAddress, formatAddress },
      network: this.#cuttable ?? network,
      addEvent: (event) => void events.add(event),
    });
  }

  /** Resolves with the address for the host's record, which is empty without this network. */
  async listen(): Promise<string> {
    if (this.#management === undefined || this.#address === undefined) return "";
    return await this.#management.listen(parseAddress(this.#address));
  }

  async start(): Promise<void> {
    await this.#management?.start();
  }

  async close(): Promise<void> {
    await this.#management?.close();
  }

  peer(hostId: string): ManagementPeer | undefined {
    return this.#management?.peer(hostId);
  }

  /** What another host sees of the others. Fails as `Links.call`, or with `message-invalid`. */
  async askSeen(hostId: string): Promise<readonly SeenHostView[]> {
    if (this.#management === undefined) throw noSecondNetwork();
    const options = { deadlineMs: ASK_MS };
    const { result } = await this.#management.links.call(hostId, "host.seen", null, options);
    return readAnswers(seenHostShape, result);
  }

  /** Answers others. */
  offerSeen(seen: () => Promise<readonly SeenHostView[]>): void {
    this.#management?.links.handle("host.seen", async () => ({ result: await seen() }));
  }

  /** Asks the HA module of another host. Fails as it does, or as `Links.call`. */
  async askHa(hostId: string, method: string, argument: unknown, ms: number): Promise<unknown> {
    if (this.#management === undefined) throw noSecondNetwork();
    const options = { deadlineMs: ms };
    return (await this.#management.links.call(hostId, method, argument, options)).result;
  }

  offerHa(method: string, answer: (argument: unknown) => Promise<unknown>): void {
    this.#management?.links.handle(method, async ({ argument }) => ({
      result: await answer(argument),
    }));
  }

  async verdictOn(hostId: string): Promise<HostVerdict> {
    return (await this.#management?.links.verdictOn(hostId)) ?? "silent";
  }

  /** As `HostProcess.cutOff`. */
  cutOff(addresses: readonly string[]): void {
    this.#cuttable?.cut(addresses);
  }
}

function noSecondNetwork(): CodedError {
  return new CodedError({
    code: "host-unreachable",
    message: "the management network is not a second one",
    hint: "drystone host list shows which hosts are up",
  });
}

export function hostNetwork(tls: HostTls | undefined, log: Log): Network {
  return tls === undefined ? new StreamNetwork({ log }) : new TlsNetwork({ ...tls, log });
}
