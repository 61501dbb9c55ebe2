/**
 * A host's part in a directory that the cluster's own hosts keep: it runs a member of etcd if it is
 * one of the first three, and knows where the members are.
 *
 * The first host begins a cluster of one. Others stay without a member until there are three hosts:
 * of two members the loss of either would stop both. Then each adds itself, one after the other
 * (etcd takes one at a time), first without a vote. A member that is taken out of the cluster makes
 * room for another host.
 *
 *   begin-new      in the folder of the first host until its member has been started once
 *   members.json   where the members were last
 *   etcd/          the member's data. Never to be restored from a copy: it would have forgotten
 *                  what it has promised to the others
 */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CodedError, errorText } from "../../base/index.ts";
import { listHosts } from "../../cluster/index.ts";
import { EtcdDirectory, EtcdServer } from "../../platform/index.ts";
import type { EtcdMember, EtcdServerTls, EtcdTls } from "../../platform/index.ts";
import type { Log } from "../../ports/index.ts";
import type { DirectoryMemberView, DirectoryView } from "./directory-views.ts";
import { writeDurably } from "../durable-file.ts";
import type { MemberConfig } from "../host-config.ts";
import { formatAddress, parseAddress } from "../names.ts";
import { isRecord } from "../api/shape.ts";

const MEMBERS = 3;
const LOOK_MS = 10_000;
/** While members are missing or away. */
const LOOK_SOON_MS = 1500;
/** How often in a row the others must have said that this host's member is none of theirs. */
const MISSED_MAX = 3;
const RESTART_MS_MAX = 30_000;
const BEGIN_NEW = "begin-new";
const KNOWN = "members.json";

export interface DirectoryMemberWorld {
  readonly config: MemberConfig;
  /** Where members were when the host joined. */
  readonly endpoints: readonly string[];
  readonly clusterId: string;
  readonly hostId: string;
  readonly tls: { readonly client: EtcdTls; readonly server: EtcdServerTls } | undefined;
  readonly log: Log;
  /** The host is to stop although it has not started yet. */
  readonly stopped: AbortSignal;
  /** Default: `etcd`, found in PATH. */
  readonly program?: string;
}

/** What `init` leaves for the first start of the first host. */
export function markFirstMember(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeDurably(folder, BEGIN_NEW, "");
}

export class DirectoryMember {
  readonly directory: EtcdDirectory;
  readonly #world: DirectoryMemberWorld;
  readonly #clientUrl: string;
  readonly #peerUrl: string;
  #server: EtcdServer | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isClosed = false;
  #missedCount = 0;
  /** Its vote is written down where it runs: see `EtcdMembers.keepVote`. */
  #keepsVote = false;
  #isLooking = true;
  #lookedMs = 0;
  #trouble: string | undefined;
  #view: readonly DirectoryMemberView[] = [];
  #endpoints: readonly string[];
  /** The authorities that the member believes, which it has read when it was started. */
  #startedPem: string | undefined;

  private constructor(world: DirectoryMemberWorld) {
    this.#world = world;
    const { config, endpoints, tls, log } = world;
    const scheme = tls === undefined ? "http" : "https";
    this.#clientUrl = `${scheme}://${formatAddress(parseAddress(config.clientAddress))}`;
    this.#peerUrl = `${scheme}://${formatAddress(parseAddress(config.peerAddress))}`;
    const isMember = this.#hasData || this.#isNew;
    const known = [...readKnown(config.folder), ...endpoints];
    const others = [...new Set(known)].filter((url) => url !== this.#clientUrl);
    this.#endpoints = isMember ? [this.#clientUrl, ...others] : others;
    if (this.#endpoints.length === 0) throw memberLost(config.folder);
    this.directory = new EtcdDirectory({
      endpoints: this.#endpoints,
      ...(tls && { tls: tls.client }),
      log,
    });
  }

  /**
   * Resolves when the directory answers, however long that takes: after a power cut it does not
   * before a majority of its hosts is back. Fails with `etcd-missing`, `directory-member-lost` or,
   * if it is told to stop, `start-stopped`.
   */
  static async open(world: DirectoryMemberWorld): Promise<DirectoryMember> {
    const member = new DirectoryMember(world);
    try {
      if (member.#isNew || member.#hasData)
        member.#server = await member.#start({ isNew: member.#isNew });
      await member.#answering();
    } catch (error) {
      await member.close();
      throw error;
    }
    rmSync(join(world.config.folder, BEGIN_NEW), { force: true });
    member.#lookLater(0);
    return member;
  }

  /**
   * As it was at the last look, which is a moment ago where somebody asks often; `names` are those
   * of hosts by their ids.
   */
  view(names: ReadonlyMap<string, string>): DirectoryView {
    if (performance.now() - this.#lookedMs > LOOK_SOON_MS && !this.#isLooking) {
      clearTimeout(this.#timer);
      this.#lookLater(0);
    }
    const members = this.#view.map((one) => ({ ...one, host: names.get(one.host) ?? one.host }));
    return { members, ...(this.#trouble === undefined ? {} : { trouble: this.#trouble }) };
  }

  /** Where the members are, for hosts that join. */
  get endpoints(): readonly string[] {
    return this.#endpoints;
  }

  /**
   * Has this host's member believe the authorities that its file names now. It is started again for
   * that, which fails with `directory-members-away` while the others would be no majority without
   * it.
   */
  async reread(): Promise<void> {
    const caPem = this.#believedPem();
    if (this.#server === undefined || caPem === this.#startedPem) return;
    const all = await this.directory.members.list();
    await this.#seeAll(all);
    const away = this.#view.filter(({ host, state }) => {
      return host !== this.#world.hostId && state !== "well";
    });
    if (away.length > 0) throw membersAway(away.map(({ address }) => address));
    await this.#server.restart(RESTART_MS_MAX);
    this.#startedPem = caPem;
  }

  #believedPem(): string | undefined {
    const { tls } = this.#world;
    return tls && readFileSync(tls.server.caPath, "utf8");
  }

  /** Takes a host's member out for good. Fails with `directory-unavailable`. */
  async remove(hostId: string): Promise<void> {
    const { members } = this.directory;
    const gone = (await members.list()).find(({ name }) => name === hostId);
    if (gone !== undefined) await members.remove(gone.id);
  }

  /** The directory first: what it has under way still needs the member. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.directory.close();
    await this.#looking;
    await this.#server?.stop();
  }

  get #hasData(): boolean {
    return existsSync(join(this.#world.config.folder, "etcd", "member"));
  }

  get #isNew(): boolean {
    return existsSync(join(this.#world.config.folder, BEGIN_NEW)) && !this.#hasData;
  }

  async #start({
    isNew,
    others = [],
  }: {
    readonly isNew: boolean;
    readonly others?: readonly EtcdMember[];
  }): Promise<EtcdServer> {
    const { config, clusterId, hostId, tls, log, program } = this.#world;
    this.#startedPem = this.#believedPem();
    const named = others.filter(({ name }) => name !== "" && name !== hostId);
    const initial = named.map(({ name, peerUrls }) => [name, peerUrls[0] ?? ""] as const);
    return await EtcdServer.start({
      name: hostId,
      dataDir: config.folder,
      clientUrl: this.#clientUrl,
      peerUrl: this.#peerUrl,
      initialCluster: Object.fromEntries([...initial, [hostId, this.#peerUrl]]),
      initialClusterState: isNew ? "new" : "existing",
      clusterToken: clusterId,
      ...(tls && { clientTls: tls.server, peerTls: tls.server }),
      ...(program === undefined ? {} : { program }),
      log,
    });
  }

  async #answering(): Promise<void> {
    const { log, stopped } = this.#world;
    for (let isFirst = true; ; isFirst = false) {
      if (stopped.aborted) throw startStopped();
      try {
        await this.directory.members.list();
        // Members are listed without a majority, too; a read is not.
        await this.directory.get(`/drystone/${this.#world.clusterId}/cluster`);
        return;
      } catch (error) {
        const isAway = error instanceof CodedError && error.code === "directory-unavailable";
        if (!isAway) throw error;
        const message = "the directory does not answer yet; a majority of its hosts must run";
        if (isFirst) log.write("warning", message, { cause: error.message });
      }
    }
  }

  #lookLater(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#look();
    }, delayMs);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    this.#isLooking = true;
    try {
      await this.#tend();
    } catch (error) {
      if (!this.#isClosed && !(error instanceof CodedError)) throw error;
      const fields = { cause: errorText(error) };
      if (!this.#isClosed) this.#world.log.write("debug", "the directory was not tended", fields);
    }
    this.#isLooking = false;
    this.#lookedMs = performance.now();
    const isWell =
      this.#view.length >= MEMBERS && this.#view.every(({ state }) => state === "well");
    this.#lookLater(isWell ? LOOK_MS : LOOK_SOON_MS);
  }

  async #tend(): Promise<void> {
    const { hostId } = this.#world;
    const all = await this.directory.members.list();
    const own = all.find(({ name, peerUrls }) => name === hostId || peerUrls[0] === this.#peerUrl);
    this.#remember(all);
    await this.#seeAll(all);
    if (this.#server === undefined) return await this.#enter(all, own);
    if (own === undefined) return await this.#left();
    this.#missedCount = 0;
    const { members } = this.directory;
    if (own.isLearner) {
      // Refused until it has caught up.
      const promoted = members.promote(own.id).then(() => members.keepVote(own));
      return await promoted.catch(refusalOnly);
    }
    if (this.#keepsVote) return;
    // Again by way of this host's own member, which answers when it has it.
    await members.keepVote(own);
    this.#keepsVote = true;
  }

  #remember(all: readonly EtcdMember[]): void {
    const voters = all.filter(({ isLearner }) => !isLearner);
    const urls = voters.flatMap(({ clientUrls }) => clientUrls.slice(0, 1));
    const isOwn = (url: string): boolean => url === this.#clientUrl;
    const ordered = [...urls.filter(isOwn), ...urls.filter((url) => !isOwn(url)).toSorted()];
    if (ordered.length === 0 || ordered.join() === this.#endpoints.join()) return;
    const { folder } = this.#world.config;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeDurably(folder, KNOWN, `${JSON.stringify({ endpoints: ordered })}\n`);
    this.#endpoints = ordered;
    this.directory.setEndpoints(ordered);
  }

  async #seeAll(all: readonly EtcdMember[]): Promise<void> {
    const { members } = this.directory;
    this.#view = await Promise.all(
      all.map(async ({ name, clientUrls, peerUrls, isLearner }): Promise<DirectoryMemberView> => {
        const [address] = clientUrls;
        const state = address === undefined ? "joining" : await members.stateOf(address);
        return {
          host: name,
          address: address ?? peerUrls[0] ?? "",
          state: isLearner && state !== "silent" ? "joining" : state,
        };
      }),
    );
  }

  /** Becomes a member if there is room for one. */
  async #enter(all: readonly EtcdMember[], own: EtcdMember | undefined): Promise<void> {
    const { clusterId, hostId, log } = this.#world;
    this.#trouble = undefined;
    if (own === undefined) {
      if (all.length >= MEMBERS || all.some(({ isLearner }) => isLearner)) return;
      const hosts = await listHosts(this.directory, clusterId);
      const isOne = hosts.some((host) => host.hostId === hostId);
      if (!isOne || hosts.length < MEMBERS) return;
    }
    this.#trouble = await this.#whyNotRun();
    if (this.#trouble !== undefined) return;
    if (own !== undefined && own.name !== "") {
      // Its data is gone, and with it what it has promised: it comes back as a new one.
      log.write("warning", "the data of this host's directory member is gone; it begins anew");
      await this.directory.members.remove(own.id);
      return;
    }
    const members =
      own === undefined ? await this.directory.members.addLearner(this.#peerUrl) : all;
    log.write("info", "this host becomes a member of the directory", { member: hostId });
    this.#keepsVote = false;
    this.#server = await this.#start({ isNew: false, others: members });
  }

  /** Another host says that this one's member was taken out: sure once its process has ended. */
  async #left(): Promise<void> {
    if (this.#server?.pid !== undefined) this.#missedCount = 0;
    else this.#missedCount++;
    if (this.#missedCount < MISSED_MAX) return;
    this.#world.log.write("warning", "this host's directory member was taken out of the directory");
    await this.#server?.stop();
    this.#server = undefined;
    rmSync(join(this.#world.config.folder, "etcd"), { recursive: true, force: true });
  }

  async #whyNotRun(): Promise<string | undefined> {
    const program = this.#world.program ?? "etcd";
    return await new Promise((resolve) => {
      execFile(program, ["--version"], { timeout: LOOK_MS }, (error) => {
        resolve(error === null ? undefined : `${program} cannot be started: ${error.message}`);
      });
    });
  }
}

/** What it is to try again later. */
function refusalOnly(error: unknown): void {
  if (!(error instanceof CodedError)) throw error;
}

function readKnown(folder: string): readonly string[] {
  const file = join(folder, KNOWN);
  if (!existsSync(file)) return [];
  const value: unknown = JSON.parse(readFileSync(file, "utf8"));
  const endpoints = isRecord(value) ? value["endpoints"] : undefined;
  if (Array.isArray(endpoints) && endpoints.every((one) => typeof one === "string"))
    return endpoints;
  throw new CodedError({
    code: "state-damaged",
    message: `${file} does not hold the addresses of the directory's members`,
    hint: "Remove it: the addresses in cluster.directory are used then",
  });
}

function memberLost(folder: string): CodedError {
  return new CodedError({
    code: "directory-member-lost",
    message: `the data of this host's directory member is not in ${folder} any more`,
    hint: "Name other hosts of the cluster in cluster.directory, as https://ADDRESS:7402",
  });
}

function membersAway(addresses: readonly string[]): CodedError {
  return new CodedError({
    code: "directory-members-away",
    message: `members of the directory do not answer well: ${addresses.join(", ")}`,
    hint: "drystone status tells why; this host's member goes on as it is until they do",
  });
}

function startStopped(): CodedError {
  return new CodedError({
    code: "start-stopped",
    message: "the host was stopped before the directory answered",
    hint: "Start it again when a majority of the directory's hosts runs",
  });
}
