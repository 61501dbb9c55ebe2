/**
 * One member of an etcd cluster as a child process: started, watched, started again with growing
 * delays when it ends, and stopped.
 *
 * Its pid is in a file beside the data. If this process is killed the member goes on serving its
 * cluster; the next `EtcdServer` on the same data ends it before it starts its own.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, CodedError, errorText } from "../../base/index.ts";
import type { Log } from "../../ports/index.ts";
import { EtcdEndpoint } from "./etcd-endpoint.ts";
import type { EtcdTls } from "./etcd-endpoint.ts";
import { EtcdOutput } from "./etcd-output.ts";
import { systemErrorCode } from "../sys.ts";

const RESTART_DELAY_MS_MIN = 500;
const RESTART_DELAY_MS_MAX = 30_000;
/** After running for so long, the next restart comes soon again. */
const STABLE_MS = 60_000;
const HEALTH_INTERVAL_MS = 250;
const HEALTH_TIMEOUT_MS = 2000;
const STOP_TIMEOUT_MS = 10_000;
const EXIT_POLL_MS = 50;
const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/;
/** Watches may be away for so long without being lost. */
const COMPACTION_RETENTION = "1h";

/** Paths of PEM files, as etcd reads them itself. */
export interface EtcdServerTls {
  readonly certificatePath: string;
  readonly keyPath: string;
  /** The authority whose certificates the other end must show. */
  readonly caPath: string;
  /** Certificates that are refused although the authority has signed them; read each time. */
  readonly revokedPath?: string;
}

export interface EtcdServerOptions {
  /** Unique in its cluster: 1 to 64 letters, digits and hyphens. */
  readonly name: string;
  /** Made if it does not exist. Its content is etcd's. */
  readonly dataDir: string;
  /** Where clients and the other members reach this one; it listens there. */
  readonly clientUrl: string;
  readonly peerUrl: string;
  /** All members that the cluster begins with, this one included: name to peer URL. */
  readonly initialCluster: Readonly<Record<string, string>>;
  /** "existing" for a member that was added to a cluster that runs. Default: "new". */
  readonly initialClusterState?: "new" | "existing";
  /** Tells clusters apart that were made with the same addresses. */
  readonly clusterToken: string;
  readonly clientTls?: EtcdServerTls;
  readonly peerTls?: EtcdServerTls;
  /** Default: `etcd`, found in PATH. */
  readonly program?: string;
  /** Default: 1000 ms; the heartbeat is a tenth of it. */
  readonly electionTimeoutMs?: number;
  readonly log?: Log;
}

type State = "starting" | "healthy" | "waiting" | "stopping" | "stopped";

export class EtcdServer {
  readonly #options: EtcdServerOptions;
  readonly #output: EtcdOutput;
  readonly #endpoint: EtcdEndpoint;
  readonly #pidPath: string;
  #state: State = "waiting";
  #child: ChildProcess | undefined;
  #startedMs = 0;
  #restartDelayMs = RESTART_DELAY_MS_MIN;
  #restartTimer: NodeJS.Timeout | undefined;
  #healthTimer: NodeJS.Timeout | undefined;
  #startFailure: CodedError | undefined;
  #restartCount = 0;
  readonly #listeners = new Set<() => void>();

  private constructor(options: EtcdServerOptions) {
    this.#options = options;
    this.#output = new EtcdOutput(options.name, options.log);
    this.#endpoint = new EtcdEndpoint(options.clientUrl, ownTls(options.clientTls));
    this.#pidPath = join(options.dataDir, "drystone.pid");
  }

  /**
   * Starts the member and does not wait for it: the first one of a new cluster is not healthy
   * before a majority runs. Fails with `etcd-missing` or `address-invalid`.
   */
  static async start(options: EtcdServerOptions): Promise<EtcdServer> {
    assert(NAME_PATTERN.test(options.name), "the name of a member has letters, digits and hyphens");
    assert(options.name in options.initialCluster, "a member belongs to its cluster");
    const server = new EtcdServer(options);
    mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
    await endLeftover(server.#pidPath, options);
    try {
      await server.#spawn();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  get isHealthy(): boolean {
    return this.#state === "healthy";
  }

  /** Of the process that runs now. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** How often the process was started again. */
  get restartCount(): number {
    return this.#restartCount;
  }

  /**
   * Resolves when the member serves clients and has a leader. Fails with `etcd-unhealthy`, with
   * what etcd said last, after `timeoutMs`, or at once if the server is stopped.
   */
  async healthy(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const finish = (error?: CodedError): void => {
        clearTimeout(timer);
        this.#listeners.delete(look);
        if (error === undefined) resolve();
        else reject(error);
      };
      const look = (): void => {
        if (this.#state === "healthy") finish();
        else if (this.#state === "stopping" || this.#state === "stopped")
          finish(this.#unhealthy("was stopped"));
      };
      const timer = setTimeout(
        () => finish(this.#unhealthy(`was not healthy after ${timeoutMs} ms`)),
        timeoutMs,
      );
      this.#listeners.add(look);
      look();
    });
  }

  /**
   * SIGTERM, and SIGKILL to a process that is still there after 10 s. Resolves when it has ended.
   */
  async stop(): Promise<void> {
    if (this.#state === "stopped") return;
    clearTimeout(this.#restartTimer);
    clearTimeout(this.#healthTimer);
    const child = this.#child;
    this.#enter(child === undefined ? "stopped" : "stopping");
    this.#endpoint.close();
    if (child === undefined) return;
    await endOf(child);
  }

  /**
   * Ends the process and starts it again at once, for what it reads only then: the authorities that
   * it believes. Resolves when it serves again. Fails as `healthy`.
   */
  async restart(timeoutMs: number): Promise<void> {
    clearTimeout(this.#restartTimer);
    clearTimeout(this.#healthTimer);
    const child = this.#child;
    // Its end is no failure.
    this.#child = undefined;
    this.#enter("waiting");
    if (child !== undefined) await endOf(child);
    // It was stopped meanwhile.
    if (this.#state !== "waiting") return;
    this.#endpoint.setTls(ownTls(this.#options.clientTls));
    await this.#spawn();
    await this.healthy(timeoutMs);
  }

  async #spawn(): Promise<void> {
    const { program = "etcd", name } = this.#options;
    const child = spawn(program, argumentsOf(this.#options), {
      // A group of its own: what ends this process by its group (Ctrl-C) leaves the order to us.
      detached: true,
      env: environment(),
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child = child;
    this.#startedMs = performance.now();
    this.#enter("starting");
    this.#output.follow(child.stderr);
    child.once("close", (code, signal) => {
      if (this.#child === child) this.#ended(signal ?? code ?? "unknown");
    });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.on("error", (error) => {
        // Of a process that runs: a signal that could not be sent.
        if (child.pid !== undefined) return;
        this.#startFailure = missing(program, error);
        this.#ended("not started");
        reject(this.#startFailure);
      });
    });
    if (this.#child !== child) return;
    writeFileSync(this.#pidPath, `${child.pid}\n`);
    this.#options.log?.write("info", "etcd was started", { member: name, pid: child.pid });
    this.#checkHealthSoon();
  }

  #ended(how: string | number): void {
    clearTimeout(this.#healthTimer);
    this.#child = undefined;
    rmSync(this.#pidPath, { force: true });
    const { name, log } = this.#options;
    if (this.#state === "stopping" || this.#state === "stopped") {
      this.#enter("stopped");
      log?.write("info", "etcd was stopped", { member: name });
      return;
    }
    if (performance.now() - this.#startedMs >= STABLE_MS)
      this.#restartDelayMs = RESTART_DELAY_MS_MIN;
    const delayMs = this.#restartDelayMs;
    this.#restartDelayMs = Math.min(RESTART_DELAY_MS_MAX, delayMs * 2);
    log?.write("error", "etcd has ended and will be started again", {
      member: name,
      how,
      delayMs,
      lastWords: this.#output.lastWords,
    });
    this.#enter("waiting");
    this.#restartTimer = setTimeout(() => {
      this.#restartCount++;
      // The end of a process that could not be spawned is reported as any other.
      this.#spawn().catch(() => undefined);
    }, delayMs);
  }

  #checkHealthSoon(): void {
    this.#healthTimer = setTimeout(() => void this.#checkHealth(), HEALTH_INTERVAL_MS);
  }

  /** Only until it is healthy: later, those who use it notice. */
  async #checkHealth(): Promise<void> {
    const child = this.#child;
    try {
      const answer = await this.#endpoint.post(
        "maintenance/status",
        {},
        undefined,
        HEALTH_TIMEOUT_MS,
      );
      const hasLeader = answer.text("leader") !== "" && answer.text("leader") !== "0";
      if (hasLeader && this.#child === child && this.#state === "starting") {
        this.#enter("healthy");
        this.#options.log?.write("info", "etcd is healthy", { member: this.#options.name });
      }
    } catch {
      // Not yet; `healthy` says so in the end, with what etcd said.
    }
    if (this.#state === "starting" && this.#child === child) this.#checkHealthSoon();
  }

  #enter(state: State): void {
    this.#state = state;
    for (const look of [...this.#listeners]) look();
  }

  #unhealthy(what: string): CodedError {
    const { name, clientUrl } = this.#options;
    const words = this.#startFailure?.message ?? this.#output.lastWords;
    return new CodedError({
      code: "etcd-unhealthy",
      message: `the etcd member ${name} at ${clientUrl} ${what}${words === "" ? "" : `; it said: ${words}`}`,
      hint: "check its addresses, its data folder, and that a majority of the members runs",
      details: { member: name, endpoint: clientUrl },
    });
  }
}

/** SIGTERM, and SIGKILL if that does not help. */
async function endOf(child: ChildProcess): Promise<void> {
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(timer);
}

function argumentsOf(options: EtcdServerOptions): string[] {
  const { name, dataDir, clientUrl, peerUrl, clientTls, peerTls } = options;
  const electionTimeoutMs = options.electionTimeoutMs ?? 1000;
  const cluster = Object.entries(options.initialCluster).map(([member, url]) => `${member}=${url}`);
  return [
    ...["--name", name, "--data-dir", join(dataDir, "etcd")],
    ...["--listen-client-urls", clientUrl, "--advertise-client-urls", clientUrl],
    ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl],
    ...["--initial-cluster", cluster.join(","), "--initial-cluster-token", options.clusterToken],
    ...["--initial-cluster-state", options.initialClusterState ?? "new"],
    ...["--election-timeout", String(electionTimeoutMs)],
    ...["--heartbeat-interval", String(Math.max(1, Math.floor(electionTimeoutMs / 10)))],
    ...["--auto-compaction-mode", "periodic", "--auto-compaction-retention", COMPACTION_RETENTION],
    ...["--logger", "zap", "--log-outputs", "stderr"],
    ...tlsArguments("", clientTls),
    ...tlsArguments("peer-", peerTls),
  ];
}

function tlsArguments(prefix: "" | "peer-", tls: EtcdServerTls | undefined): string[] {
  if (tls === undefined) return [];
  return [
    ...[`--${prefix}cert-file`, tls.certificatePath, `--${prefix}key-file`, tls.keyPath],
    ...[`--${prefix}trusted-ca-file`, tls.caPath, `--${prefix}client-cert-auth`],
    ...(tls.revokedPath === undefined
      ? []
      : [prefix === "" ? "--client-crl-file" : "--peer-crl-file", tls.revokedPath]),
  ];
}

/** The member's certificate serves as a client's too: its own gateway needs that anyway. */
function ownTls(tls: EtcdServerTls | undefined): EtcdTls {
  if (tls === undefined) return {};
  return {
    caPem: readFileSync(tls.caPath, "utf8"),
    certificatePem: readFileSync(tls.certificatePath, "utf8"),
    keyPem: readFileSync(tls.keyPath, "utf8"),
  };
}

/** Without settings for another etcd; etcd refuses to start if one contradicts an argument. */
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("ETCD_"));
  // Releases 3.4 want to be told so on anything but x86.
  if (process.arch === "arm64") own.push(["ETCD_UNSUPPORTED_ARCH", "arm64"]);
  return Object.fromEntries(own);
}

/** Ends the member that a killed process left behind, if it still runs on these data. */
async function endLeftover(pidPath: string, options: EtcdServerOptions): Promise<void> {
  let pid: number;
  try {
    pid = Number(readFileSync(pidPath, "utf8").trim());
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return;
    throw error;
  }
  const dataDir = join(options.dataDir, "etcd");
  const isOurs = (): boolean => runsWith(pid, dataDir);
  if (Number.isSafeInteger(pid) && pid > 1 && isOurs()) {
    const fields = { member: options.name, pid };
    options.log?.write("warning", "an etcd that was left behind is ended", fields);
    const startMs = performance.now();
    process.kill(pid, "SIGTERM");
    while (isOurs()) {
      if (performance.now() - startMs > STOP_TIMEOUT_MS) process.kill(pid, "SIGKILL");
      await new Promise((resolve) => setTimeout(resolve, EXIT_POLL_MS));
    }
  }
  rmSync(pidPath, { force: true });
}

/**
 * Whether the process is an etcd on this folder. Pids are used again: a number alone says little.
 */
function runsWith(pid: number, dataDir: string): boolean {
  try {
    // Empty for a process that has ended and was not yet waited for.
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(dataDir);
  } catch {
    return false;
  }
}

function missing(program: string, error: Error): CodedError {
  return new CodedError(
    {
      code: "etcd-missing",
      message: `${program} cannot be started: ${errorText(error)}`,
      hint: "install etcd (Debian package etcd-server), or use one that runs elsewhere",
    },
    { cause: error },
  );
}
