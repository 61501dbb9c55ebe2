/** What operators ask about keys, answered with the help of the other hosts. */
import { CodedError } from "../../base/index.ts";
import type { HostPlane } from "../../plane/index.ts";
import { readClusterKeys } from "./cluster-key-file.ts";
import type { KeyKeeper } from "./key-keeper.ts";
import type {
  ClusterKeyHostView,
  ClusterKeyView,
  KeyDomainRequest,
  KeyDomainView,
  KeyRotateRequest,
} from "./key-views.ts";
import type { PlaneWorld } from "../data/plane-world.ts";
import { isRecord } from "../api/shape.ts";

const ANSWER_MS = 10_000;

export class KeyDesk {
  readonly #world: PlaneWorld;
  readonly #plane: HostPlane;
  readonly #keeper: KeyKeeper;

  constructor(world: PlaneWorld, plane: HostPlane, keeper: KeyKeeper) {
    this.#world = world;
    this.#plane = plane;
    this.#keeper = keeper;
    plane.links.handle("key.adopt", async () => {
      await keeper.adopt();
      return { result: null };
    });
    plane.links.handle("key.state", async () => ({ result: this.#ownState() }));
  }

  /** What has happened to the cluster key while this host was away. */
  async catchUp(): Promise<void> {
    try {
      await this.#adoptHere();
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      const message = `the next cluster key was not taken: ${error.message}`;
      const details = { code: error.code };
      this.#world.addEvent({ level: "warning", kind: "cluster-key-not-taken", message, details });
    }
  }

  async show(): Promise<ClusterKeyView> {
    const record = await this.#keeper.clusterKey();
    const missing = (await this.#keeper.unconfirmed()) ?? [];
    const hosts = await Promise.all(
      this.#plane.hosts.records.map(async ({ hostId, name }) => {
        return { host: name, ...(await this.#stateOf(hostId)) };
      }),
    );
    const { keyId, next } = record ?? {};
    return {
      ...(keyId === undefined ? {} : { keyId }),
      ...(next === undefined ? {} : { nextKeyId: next.keyId }),
      waitingFor: missing.map((hostId) => this.#plane.hosts.nameOf(hostId)),
      hosts,
    };
  }

  /** Begins it or goes on with it, as far as the hosts that are there allow. */
  async rotate({ finish }: KeyRotateRequest): Promise<ClusterKeyView> {
    await this.#keeper.beginRotation();
    await this.#adoptEverywhere();
    if (finish === true && (await this.#keeper.unconfirmed()) !== undefined)
      await this.#keeper.endRotation();
    await this.#adoptHere();
    const view = await this.show();
    const { keyId, nextKeyId } = view;
    const message =
      nextKeyId === undefined
        ? `the cluster key is ${keyId} now`
        : `the cluster key is being changed from ${keyId} to ${nextKeyId}`;
    this.#world.addEvent({ level: "info", kind: "cluster-key-changed", message, details: {} });
    return view;
  }

  async domains(): Promise<readonly KeyDomainView[]> {
    const stored = await this.#keeper.domains();
    return await Promise.all(
      stored.map(async ({ record }) => {
        const { name, domainId, cipher, createdMs } = record;
        return { name, domainId, cipher, createdMs, volumes: await this.#keeper.volumesOf(record) };
      }),
    );
  }

  async destroyDomain({ name }: KeyDomainRequest): Promise<void> {
    await this.#keeper.destroyDomain(name);
    const message = `the key of domain ${name} was destroyed`;
    this.#world.addEvent({ level: "warning", kind: "key-domain-destroyed", message, details: {} });
  }

  /** Takes the next key, and ends the change if this host was the last one to. */
  async #adoptHere(): Promise<void> {
    await this.#keeper.adopt();
    const missing = await this.#keeper.unconfirmed();
    if (missing === undefined || missing.length > 0) return;
    await this.#keeper.endRotation();
    await this.#adoptEverywhere();
    await this.#keeper.adopt();
  }

  /** Who does not answer now does so at its next start. */
  async #adoptEverywhere(): Promise<void> {
    const { hostId: own } = this.#world.identity;
    const others = this.#plane.hosts.records.filter(({ hostId }) => hostId !== own);
    await Promise.all(
      others.map(async ({ hostId, name }) => {
        try {
          const options = { deadlineMs: ANSWER_MS };
          await this.#plane.links.call(hostId, "key.adopt", null, options);
        } catch (error) {
          if (!(error instanceof CodedError)) throw error;
          this.#world.log.write("warning", `a host did not take the cluster key`, {
            host: name,
            cause: error.message,
          });
        }
      }),
    );
  }

  #ownState(): Omit<ClusterKeyHostView, "host"> {
    try {
      return { keyIds: [...readClusterKeys(this.#world.identity.keyFile).keys()] };
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      return { keyIds: [], reason: error.message };
    }
  }

  async #stateOf(hostId: string): Promise<Omit<ClusterKeyHostView, "host">> {
    if (hostId === this.#world.identity.hostId) return this.#ownState();
    try {
      const options = { deadlineMs: ANSWER_MS };
      const { result } = await this.#plane.links.call(hostId, "key.state", null, options);
      if (!isRecord(result) || !Array.isArray(result["keyIds"])) return { reason: "no answer" };
      const reason = result["reason"];
      const keyIds = result["keyIds"].map(String);
      return { keyIds, ...(typeof reason === "string" ? { reason } : {}) };
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      return { reason: error.message };
    }
  }
}
