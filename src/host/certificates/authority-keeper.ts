/**
 * This host's part in the replacement of the cluster's authority (`authority-rotation.ts`): it
 * follows how far the cluster is, takes each step, says so, and moves the cluster on when it sees
 * that all have said so.
 *
 * Whatever a step needs is looked for and made if it is missing, in an order in which a crash
 * between any two of them leaves a host that everybody believes: believed authorities are added
 * before anything shows their certificates, and removed when nothing does any more.
 *
 * Steps in which authorities are added or removed are taken by one host after the other: a member
 * of etcd reads them when it starts, so it is started again, and the others must be a majority.
 */
import { X509Certificate } from "node:crypto";
import { CodedError, errorText } from "../../base/index.ts";
import { DirectoryFollower, directoryKeys } from "../../cluster/index.ts";
import { listHosts, nextStep, putRotation } from "../../cluster/index.ts";
import { putRotationProgress, readRotation, rotationWaitsFor } from "../../cluster/index.ts";
import type { AuthorityRotation, RotationState } from "../../cluster/index.ts";
import { certificatesIn, fingerprintOf, makeAuthority } from "../../platform/index.ts";
import type { TlsCredentials } from "../../platform/index.ts";
import type { Clock, Directory, Log } from "../../ports/index.ts";
import type { CertificateKeeper } from "./certificate-keeper.ts";
import type { RotationView } from "./certificate-views.ts";
import type { NewEvent } from "../api/event-ring.ts";
import { adoptNextAuthority, readNextAuthority } from "./tls-folder.ts";
import { writeAuthorities, writeNextAuthority } from "./tls-folder.ts";
import type { HostTls } from "./tls-folder.ts";

const RETRY_MS = 3000;

export interface AuthorityKeeperWorld {
  readonly clusterId: string;
  readonly tls: HostTls;
  /** The folder of certificates. */
  readonly folder: string;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: { add(event: NewEvent): unknown };
  readonly certificates: Pick<CertificateKeeper, "renew">;
  /** Fails unless the directory could be reached with them. */
  readonly mayUse: (credentials: TlsCredentials) => Promise<void>;
  /** Resolves when what reads the believed authorities from their file has read them again. */
  readonly reread: () => Promise<void>;
}

interface Seen extends RotationState {
  /** By their ids, of the hosts that are members. */
  readonly names: ReadonlyMap<string, string>;
  readonly waitsFor: readonly string[];
}

export class AuthorityKeeper {
  readonly #world: AuthorityKeeperWorld;
  readonly #follower: DirectoryFollower;
  #seen: Seen | undefined;

  constructor(world: AuthorityKeeperWorld) {
    const { directory, clock, clusterId } = world;
    this.#world = world;
    this.#follower = new DirectoryFollower({
      ...{ directory, clock, prefix: directoryKeys.authorities(clusterId), retryMs: RETRY_MS },
      read: () => this.#look(),
      failed: (error) => this.#tell(error),
    });
  }

  start(): void {
    this.#follower.start();
  }

  close(): void {
    this.#follower.close();
  }

  /** As it was when the directory was asked last; undefined where nothing is replaced. */
  view(): RotationView | undefined {
    if (this.#seen === undefined) return undefined;
    const { rotation, names, waitsFor, progress } = this.#seen;
    const { step, isHeld, startedMs, keyHostId, newPem } = rotation;
    if (step === "done") return undefined;
    return {
      ...{ step, isHeld, startedMs, keyHost: names.get(keyHostId) ?? keyHostId },
      fingerprint: fingerprintOf(new X509Certificate(newPem)),
      waitsFor: waitsFor.map((hostId) => {
        const own = progress.find((one) => one.hostId === hostId);
        const reason = own?.generation === rotation.generation ? own.reason : undefined;
        return { host: names.get(hostId) ?? hostId, ...(reason === undefined ? {} : { reason }) };
      }),
    };
  }

  /**
   * Begins to replace the authority by a new one whose key is made here; or goes on with what has
   * begun, which is no longer held unless `isHeld` says so. A replacement whose key went with a
   * host that was removed is begun anew. Fails as the directory does.
   */
  async rotate(isHeld: boolean): Promise<void> {
    const { directory, clusterId } = this.#world;
    const state = await readRotation(directory, clusterId);
    const hosts = await listHosts(directory, clusterId);
    const before = state?.rotation;
    const hasKey = hosts.some(({ hostId }) => hostId === before?.keyHostId);
    const goesOn = before !== undefined && before.step !== "done";
    if (goesOn && (hasKey || before.step === "drop")) {
      if (before.isHeld && !isHeld)
        await putRotation(directory, clusterId, { ...before, isHeld }, state?.revision ?? 0);
    } else await this.#begin(state, isHeld);
    await this.#follower.readAgain();
  }

  async #begin(state: RotationState | undefined, isHeld: boolean): Promise<void> {
    const { directory, clusterId, clock, folder, tls, events } = this.#world;
    const nowMs = Math.round(clock.wallMs());
    const generation = (state?.rotation.generation ?? 0) + 1;
    const oldPem = tls.trust.credentials.caPem;
    // What was made and not told to anybody, because the host crashed in between, is as good.
    // Another name than the one before, for programs that look for an authority by its name.
    const name = `Drystone cluster ${clusterId} ${generation + 1}`;
    const made = readNextAuthority(folder) ?? makeAuthority(clusterId, nowMs, name);
    writeNextAuthority(folder, made);
    const newPem = made.certificatePem;
    const rotation: AuthorityRotation = {
      ...{ generation, step: "trust", isHeld, keyHostId: tls.hostId },
      ...{ startedMs: nowMs, oldPem, newPem },
    };
    await putRotation(directory, clusterId, rotation, state?.revision ?? 0);
    const message = "the authority of the cluster is being replaced";
    events.add({ level: "info", kind: "authority-rotation-began", message, details: {} });
  }

  #tell(error: CodedError): void {
    const level = this.view() === undefined ? "debug" : "warning";
    const fields = { cause: errorText(error) };
    this.#world.log.write(level, "the authority's replacement does not go on yet", fields);
  }

  /** Looks, and does what is to be done; what changes meanwhile is looked at afterwards. */
  async #look(): Promise<void> {
    const { directory, clusterId, tls, events } = this.#world;
    const state = await readRotation(directory, clusterId);
    if (state === undefined) return;
    const hosts = await listHosts(directory, clusterId);
    const names = new Map(hosts.map(({ hostId, name }) => [hostId, name]));
    const waitsFor = await rotationWaitsFor(directory, clusterId, state);
    this.#seen = { ...state, names, waitsFor };
    const { rotation, revision } = state;
    const { step } = rotation;
    if (step === "done") return;
    if (waitsFor.length > 0) {
      const isMine = step === "issue" || waitsFor.toSorted()[0] === tls.hostId;
      if (isMine && waitsFor.includes(tls.hostId)) await this.#take(state);
      return;
    }
    const next = nextStep(rotation);
    if (next === undefined) return;
    const isFirst = await this.#advance({ ...rotation, step: next }, revision);
    if (!isFirst || next !== "done") return;
    const message = "the authority of the cluster was replaced; the old one is refused";
    events.add({ level: "info", kind: "authority-rotated", message, details: {} });
  }

  /** False if another host was faster, which the watch tells. */
  async #advance(rotation: AuthorityRotation, revision: number): Promise<boolean> {
    const { directory, clusterId } = this.#world;
    try {
      await putRotation(directory, clusterId, rotation, revision);
      return true;
    } catch (error) {
      if (error instanceof CodedError && error.code === "rotation-contended") return false;
      throw error;
    }
  }

  /** The step that is this host's turn, and says so, or why not. */
  async #take(state: RotationState): Promise<void> {
    const { directory, clusterId, tls, log } = this.#world;
    const { generation, step } = state.rotation;
    const own = state.progress.find(({ hostId }) => hostId === tls.hostId);
    const said = { hostId: tls.hostId, generation };
    try {
      await this.#reach(state.rotation);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      const taken = own?.generation === generation ? own.step : undefined;
      const reason = error.message;
      if (own?.reason !== reason || own.generation !== generation)
        await putRotationProgress(directory, clusterId, { ...said, step: taken, reason });
      throw error;
    }
    await putRotationProgress(directory, clusterId, { ...said, step, reason: undefined });
    log.write("info", "a step of the authority's replacement was taken", { step });
  }

  async #reach({ step, oldPem, newPem }: AuthorityRotation): Promise<void> {
    const { tls, folder, certificates, mayUse, reread } = this.#world;
    const fingerprint = fingerprintOf(new X509Certificate(newPem));
    if (step === "trust" || step === "issue") this.#believe(oldPem + newPem);
    if (step === "trust") return await reread();
    if (fingerprintOf(tls.trust.authority) !== fingerprint)
      await certificates.renew(fingerprint, mayUse);
    if (step === "issue") return;
    await mayUse({ ...tls.trust.credentials, caPem: newPem });
    this.#believe(newPem);
    await reread();
    const made = readNextAuthority(folder);
    const isMade = made !== undefined && fingerprintsIn(made.certificatePem)[0] === fingerprint;
    if (isMade) adoptNextAuthority(folder);
  }

  #believe(caPem: string): void {
    const { tls, folder } = this.#world;
    const { credentials } = tls.trust;
    if (fingerprintsIn(credentials.caPem).join() === fingerprintsIn(caPem).join()) return;
    writeAuthorities(folder, caPem);
    tls.trust.change({ credentials: { ...credentials, caPem } });
  }
}

function fingerprintsIn(pem: string): readonly string[] {
  return [...new Set(certificatesIn(pem).map(fingerprintOf))].toSorted();
}
