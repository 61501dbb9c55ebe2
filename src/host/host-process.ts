/**
 * One host in this process, from its configuration to a served API, and back. Main thread:
 * directory, events, HTTP. Data worker: everything on the way of I/O.
 *
 * Start: lock, ids, API port, devices, what was attached; a failure undoes the steps before it and
 * leaves everything as it was. Stop: no new requests, answers what is in flight, flushes, closes.
 * Being killed instead costs nothing but the recovery at the next start.
 */
import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { CodedError, errorText } from "../base/index.ts";
import { LmdbMetadataStore, NodeClock } from "../platform/index.ts";
import type { Clock, Directory, Log, MetadataStore } from "../ports/index.ts";
import { DataPlaneThread } from "./data/data-plane-thread.ts";
import type { ControlMethods } from "./data/data-plane-port.ts";
import { directoryMethods } from "./directory/directory-link.ts";
import { accessDesks, apiBackend, healthBug, Gate, machineFacts } from "./api/api-backend.ts";
import { BootFiles } from "./machines/boot-files.ts";
import { certificateHandlers } from "./certificates/certificate-control.ts";
import { Closers } from "./closers.ts";
import { EventRing } from "./api/event-ring.ts";
import type { HostConfig } from "./host-config.ts";
import { HostManagement } from "./peers/host-management.ts";
import { HostControl } from "./host-control.ts";
import type { HostFacts } from "./host-control.ts";
import { HttpApi } from "./api/http-api.ts";
import type { ApiBackend, Handlers } from "./api/http-api.ts";
import { memoryPlanOf } from "./data/memory-plan.ts";
import type { MemoryPlan } from "./data/memory-plan.ts";
import { formatAddress } from "./names.ts";
import { toldVersions } from "./peers/known-version.ts";
import { AddedDevices } from "./data/added-devices.ts";
import { NetworkViews } from "./peers/network-views.ts";
import { ensureCluster, openDirectory } from "./directory/open-directory.ts";
import type { OpenedDirectory } from "./directory/open-directory.ts";
import type { PlaneIdentity } from "./data/plane-world.ts";
import { openCertificates, openTls } from "./certificates/host-certificates.ts";
import type { HostTls } from "./certificates/tls-folder.ts";
import { StateDir } from "./state-dir.ts";
import type { SeenHostView } from "./api/views.ts";
import { machineHandlers, openHypervisor, startVms } from "./machines/host-machines.ts";

const UNIX_PATH_BYTES_MAX = 107;

export interface HostStart {
  readonly config: HostConfig;
  /** Devices that may be taken although they hold something else. */
  readonly wipe: readonly string[];
  readonly log: Log;
  /**
   * Addresses that cannot be reached at the start, in a host of a development cluster. Undefined: a
   * host whose networks nobody can cut.
   */
  readonly cut: readonly string[] | undefined;
  /** It is not to be started any more; a start that waits for the directory ends. */
  readonly stopped: AbortSignal;
  /** The data worker ended without being asked to. */
  readonly onDeath: (error: CodedError) => void;
}

export class HostProcess {
  readonly state: StateDir;
  readonly handlers: Handlers;
  /** `http://ADDRESS:PORT`, or https, with the port that was chosen. */
  readonly apiUrl: string;
  readonly #closers: Closers;
  readonly #log: Log;
  readonly #cutOff: StartedParts["cutOff"];
  readonly #ping: StartedParts["ping"];

  private constructor(parts: StartedParts, log: Log) {
    this.state = parts.state;
    this.handlers = parts.handlers;
    this.apiUrl = parts.apiUrl;
    this.#closers = parts.closers;
    this.#cutOff = parts.cutOff;
    this.#ping = parts.ping;
    this.#log = log;
  }

  /** Resolves while the data plane works. */
  async ping(): Promise<void> {
    await this.#ping();
  }

  /** From now on these addresses of other hosts, and no others, cannot be reached. */
  cutOff(addresses: readonly string[]): void {
    this.#cutOff(addresses).catch((error: unknown) => {
      this.#log.write("error", `the networks are not cut: ${errorText(error)}`);
    });
  }

  /** Fails with the codes of its parts; every step before the failing one is undone. */
  static async start(start: HostStart): Promise<HostProcess> {
    const closers = new Closers(start.log);
    try {
      return new HostProcess(await startParts(start, closers), start.log);
    } catch (error) {
      await closers.closeAll();
      throw error;
    }
  }

  /** False if something could not be closed in time or at all; the log says what. */
  async close(): Promise<boolean> {
    this.#log.write("info", "stopping");
    const isClean = await this.#closers.closeAll();
    this.#log.write("info", isClean ? "stopped" : "stopped, not cleanly");
    return isClean;
  }
}

interface StartedParts {
  readonly state: StateDir;
  readonly handlers: Handlers;
  readonly apiUrl: string;
  readonly closers: Closers;
  readonly cutOff: (addresses: readonly string[]) => Promise<void>;
  readonly ping: () => Promise<void>;
}

interface Ground {
  readonly clock: Clock;
  readonly tls: HostTls | undefined;
  readonly state: StateDir;
  readonly store: MetadataStore;
  readonly opened: OpenedDirectory;
  readonly events: EventRing;
}

/** What everything else of a host stands on. */
async function openGround(start: HostStart, closers: Closers): Promise<Ground> {
  const { config, log } = start;
  const clock = new NodeClock();
  const tls = openTls(config, clock);
  const state = StateDir.open(config.stateDir, config.cluster?.id, tls?.hostId);
  closers.add("state directory", () => state.close());
  const { hostId } = state.identity;
  const memory = planOf(config);
  const store = await openStore(state, memory.mappedFromBytes);
  closers.add("metadata", () => store.close());
  const opened = await openDirectory({ start, tls, hostId, store, clock }, closers);
  return { clock, tls, state, store, opened, events: eventRing(store, clock, log) };
}

async function startParts(start: HostStart, closers: Closers): Promise<StartedParts> {
  const { config, log } = start;
  const { clock, tls, state, store, opened, events } = await openGround(start, closers);
  const { clusterId, hostId } = state.identity;
  const { directory, member } = opened;
  const identity = identityOf(start, state, tls);
  const management = new HostManagement({ start, tls, identity, directory, clock, events });
  closers.add("management network", () => management.close());
  const thread: DataPlaneThread = new DataPlaneThread(
    identity,
    controlMethods({
      ...{ directory, events, log, management },
      ...{ thread: () => thread, seen: () => networks.seen() },
    }),
    start.onDeath,
  );
  closers.add("data plane", () => thread.close());

  const networks: NetworkViews = networkViews(hostId, thread.peer, management);
  const bootFiles = BootFiles.of(config);
  const hypervisor = openHypervisor(state, bootFiles, { events, log });
  let apiAddress = "";
  const { desk, keeper, authority, others } = openCertificates(
    { start, tls, directory, clusterId, clock, log, events, opened, thread },
    closers,
  );
  const certificates = certificateHandlers({
    ...{ directory, clusterId, hostId, clock, plane: thread.peer, events, keeper, authority },
    removeMember: async (other) => await member?.remove(other),
  });
  const facts = {
    ...{ name: config.name, hostId, clusterId, certificates, others, networks, bootFiles },
    rotation: () => authority?.view(),
    apiAddress: () => apiAddress,
    managementPeer: (other: string) => management.peer(other),
    directoryView: (names: ReadonlyMap<string, string>) => member?.view(names),
    vmMachine: machineHandlers({ config, state, directory, others, hypervisor }),
    machine: machineFacts(state, config, planOf(config), tls, clock),
    addDevice: deviceAdder(state, () => thread.peer),
    caPem: () => tls?.trust.credentials.caPem,
    desks: accessDesks({ store, directory, clusterId, clock, log, closers }),
    onBug: healthBug(log),
  };
  const control = new HostControl(facts, thread.peer, events, clock, directory, desk);
  // The port is taken before any device is touched; requests wait until the host is ready.
  const gate = new Gate();
  const backend = apiBackend(control, events, log, gate, desk);
  apiAddress = await startApi(config, tls, state, backend, closers);

  await ensureCluster(directory, clusterId, config.name, clock);
  const plane = thread.peer;
  await enterCluster(start, plane, management, apiAddress);
  const world = { config, state, directory, events, clock, log, tls };
  const vms = await startVms({ ...world, hypervisor, plane, management });
  closers.add("virtual machines", () => vms.close());
  keeper?.start();
  authority?.start();
  announce(config.name, events, control, closers);
  gate.open();
  return {
    state,
    handlers: control.handlers,
    apiUrl: `${config.isApiPlain ? "http" : "https"}://${apiAddress}`,
    closers,
    ping: () => plane.call("ping", undefined),
    cutOff: cutterOf(plane, management),
  };
}

function deviceAdder(state: StateDir, peer: () => DataPlaneThread["peer"]): HostFacts["addDevice"] {
  const added = new AddedDevices(state.path);
  return (device) =>
    added.add(device, () =>
      peer().call("addDevice", { ...device, wipe: false, mustBeEmpty: true }),
    );
}

function cutterOf(
  plane: DataPlaneThread["peer"],
  management: HostManagement,
): StartedParts["cutOff"] {
  return async (addresses) => {
    management.cutOff(addresses);
    await plane.call("cutOff", addresses);
  };
}

function eventRing(store: MetadataStore, clock: Clock, log: Log): EventRing {
  return new EventRing(store, clock, (error) => {
    log.write("warning", "an event was not stored", { error: errorText(error) });
  });
}

async function enterCluster(
  { config, wipe }: HostStart,
  plane: DataPlaneThread["peer"],
  management: HostManagement,
  api: string,
): Promise<void> {
  const added = new AddedDevices(config.stateDir).besides(config.devices);
  for (const device of [...config.devices, ...added]) {
    await plane.call("openDevice", { ...device, wipe: wipe.includes(device.path) });
  }
  const managementLink = await management.listen();
  await plane.call("join", { api, managementLink });
  await management.start();
  await plane.call("recover", undefined);
}

function networkViews(
  hostId: string,
  plane: DataPlaneThread["peer"],
  management: HostManagement,
): NetworkViews {
  const networks = new NetworkViews({
    hostId,
    plane,
    managementPeer: (other) => management.peer(other),
    askOverManagement: (other) => management.askSeen(other),
  });
  management.offerSeen(() => networks.seen());
  return networks;
}

function announce(name: string, events: EventRing, control: HostControl, closers: Closers): void {
  control.start();
  closers.add("health", async () => control.stop());
  const add = (kind: string, message: string): void =>
    void events.add({ level: "info", kind, message, details: {} });
  add("host-started", `host ${name} started`);
  closers.add("events", async () => add("host-stopped", `host ${name} stops`));
}

function identityOf(
  { config, cut }: HostStart,
  state: StateDir,
  tls: HostTls | undefined,
): PlaneIdentity {
  const { clusterId, hostId } = state.identity;
  return {
    clusterId,
    hostId,
    hostName: config.name,
    devicesPath: state.devicesPath,
    socketsPath: state.socketsPath,
    // Later starts have higher numbers, whatever became of the state directory.
    incarnation: Math.round(new NodeClock().wallMs()),
    faultDomain: config.cluster?.faultDomain ?? config.name,
    storageAddress: config.cluster?.storageAddress,
    holdMs: config.cluster?.holdMs,
    trust: tls?.trust.state,
    ...toldVersions(),
    keyFile: config.keyFile,
    cut,
    memory: planOf(config),
  };
}

/**
 * One that is added while the host runs has its share, too, beyond the plan until the next start.
 */
function planOf(config: HostConfig): MemoryPlan {
  const added = new AddedDevices(config.stateDir).besides(config.devices);
  return memoryPlanOf(config, config.devices.length + added.length);
}

/** An empty file is a new store to the adapter; but not where there has been one. */
async function openStore(state: StateDir, residentBytesMax: number): Promise<MetadataStore> {
  const path = state.metadataPath;
  const { isComplete } = state.identity;
  try {
    if (isComplete && statSync(path).size === 0) throw new Error("it is empty");
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const store = await LmdbMetadataStore.open(path, { mustExist: isComplete, residentBytesMax });
    state.markComplete();
    return store;
  } catch (error) {
    throw new CodedError(
      {
        code: "state-damaged",
        message: `the directory at ${path} cannot be opened: ${errorText(error)}`,
        hint: "Check the disk; restore the state directory from a backup",
      },
      { cause: error },
    );
  }
}

function controlMethods(parts: {
  readonly directory: Directory;
  readonly events: EventRing;
  readonly log: Log;
  readonly management: HostManagement;
  readonly thread: () => DataPlaneThread;
  readonly seen: () => Promise<readonly SeenHostView[]>;
}): ControlMethods {
  const { directory, events, log, management, thread, seen } = parts;
  return {
    ...directoryMethods(directory, (method, argument) => thread().peer.call(method, argument)),
    addEvent: async (event) => void events.add(event),
    verdictOn: (hostId) => management.verdictOn(hostId),
    seenHosts: seen,
    log: async ({ level, message, fields }) => log.write(level, message, fields),
  };
}

/** Resolves with its address. */
async function startApi(
  config: HostConfig,
  tls: HostTls | undefined,
  state: StateDir,
  backend: ApiBackend,
  closers: Closers,
): Promise<string> {
  const api = new HttpApi(backend, config.isApiPlain ? undefined : tls);
  const { host, port: wanted } = config.apiAddress;
  const port = await api.listen(host, wanted);
  closers.add("API", () => api.close());
  const { apiSocketPath: path } = state;
  // A folder deep down has room for files only.
  if (Buffer.byteLength(path) <= UNIX_PATH_BYTES_MAX) await api.listenUnix(path);
  else backend.reportRefusal(undefined, `no socket is made: ${path} is too long for one`);
  return formatAddress({ kind: "tcp", host, port });
}
