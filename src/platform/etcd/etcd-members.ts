/**
 * The members of an etcd cluster, looked at and changed. etcd refuses whatever would cost the
 * majority, and keeps the order of changes that several hosts ask for at once.
 */
import type { EtcdClient } from "./etcd-client.ts";
import { EtcdEndpoint } from "./etcd-endpoint.ts";
import type { EtcdTls } from "./etcd-endpoint.ts";
import type { EtcdFields } from "./etcd-wire.ts";

const PROBE_TIMEOUT_MS = 2000;

export interface EtcdMember {
  readonly id: string;
  /** Empty until it has been started. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  /** None until it has been started. */
  readonly clientUrls: readonly string[];
  /** It receives everything and has no vote yet. */
  readonly isLearner: boolean;
}

/** "leaderless": it answers, and has lost the others. */
export type EtcdMemberState = "well" | "leaderless" | "silent";

export class EtcdMembers {
  readonly #client: EtcdClient;
  #tls: EtcdTls | undefined;
  readonly #probes = new Map<string, EtcdEndpoint>();

  constructor(client: EtcdClient, tls: EtcdTls | undefined) {
    this.#client = client;
    this.#tls = tls;
  }

  /** As `EtcdClient.setTls`. */
  setTls(tls: EtcdTls): void {
    this.#tls = tls;
    for (const endpoint of this.#probes.values()) endpoint.setTls(tls);
  }

  /** Fails with `directory-unavailable` and others, as all of these. */
  async list(): Promise<readonly EtcdMember[]> {
    return await this.#client.call("cluster/member/list", {}, membersOf);
  }

  /** Adds a member without a vote, which is to be started next. */
  async addLearner(peerUrl: string): Promise<readonly EtcdMember[]> {
    const body = { peerURLs: [peerUrl], isLearner: true };
    return await this.#client.call("cluster/member/add", body, membersOf);
  }

  /** Gives a learner its vote. Refused while it lacks too much. */
  async promote(id: string): Promise<void> {
    await this.#client.call("cluster/member/promote", { ID: id }, () => undefined);
  }

  /**
   * Has a member that has a vote write something down, and with it that it has one. Until then it
   * may know that only in memory (etcd writes an advance of what is decided without a flush), and
   * one that is killed would start as a learner: etcd 3.4 lets that give nobody its vote.
   */
  async keepVote({ id, peerUrls }: EtcdMember): Promise<void> {
    const body = { ID: id, peerURLs: [...peerUrls] };
    await this.#client.call("cluster/member/update", body, () => undefined);
  }

  async remove(id: string): Promise<void> {
    await this.#client.call("cluster/member/remove", { ID: id }, () => undefined);
  }

  /** How the member at this URL is, asked directly. */
  async stateOf(clientUrl: string): Promise<EtcdMemberState> {
    let endpoint = this.#probes.get(clientUrl);
    if (endpoint === undefined) {
      endpoint = new EtcdEndpoint(clientUrl, this.#tls);
      this.#probes.set(clientUrl, endpoint);
    }
    try {
      const answer = await endpoint.post("maintenance/status", {}, undefined, PROBE_TIMEOUT_MS);
      const leader = answer.text("leader");
      return leader === "" || leader === "0" ? "leaderless" : "well";
    } catch {
      return "silent";
    }
  }

  close(): void {
    for (const endpoint of this.#probes.values()) endpoint.close();
    this.#probes.clear();
  }
}

function membersOf(answer: EtcdFields): readonly EtcdMember[] {
  return answer.children("members").map((member) => ({
    id: member.text("ID"),
    name: member.text("name"),
    peerUrls: member.texts("peerURLs"),
    clientUrls: member.texts("clientURLs"),
    isLearner: member.flag("isLearner"),
  }));
}
