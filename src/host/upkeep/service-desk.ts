/**
 * Repairs as the API shows them, and hosts and devices that are taken out of service: planned,
 * checked and, unless it is only asked what would happen, told to the cluster.
 */
import { CodedError, formatSize } from "../../base/index.ts";
import { putService, shownName } from "../../cluster/index.ts";
import type { ComponentRecord, ComponentState, ServiceRecord } from "../../cluster/index.ts";
import type { ComponentOwnerState, OwnerState } from "../../object/index.ts";
import type { HostPlane, ServicePlan } from "../../plane/index.ts";
import { hostUnknown } from "../peers/find-peer.ts";
import type { ClusterViews } from "../peers/cluster-views.ts";
import type { TakeOutRequest } from "../data/data-plane-port.ts";
import type { PlaneWorld } from "../data/plane-world.ts";
import { inOneLine, refusalOf } from "./service-refusals.ts";
import { waitingReason } from "../volumes/waiting-reason.ts";
import type { LeavingView, ResyncView, ServicePlanView } from "./repair-views.ts";
import type { DeviceView } from "../api/views.ts";

const KINDS: Readonly<Record<ComponentState["kind"], ResyncView["kind"]>> = {
  active: "move",
  stale: "catch-up",
  building: "rebuild",
  joining: "policy-change",
};

export class ServiceDesk {
  readonly #world: PlaneWorld;
  readonly #plane: HostPlane;
  readonly #views: ClusterViews;

  constructor(world: PlaneWorld, plane: HostPlane, views: ClusterViews) {
    this.#world = world;
    this.#plane = plane;
    this.#views = views;
  }

  /** By volume. */
  async resyncs(): Promise<readonly ResyncView[]> {
    const owners = await this.#views.owners();
    const records = await this.#plane.volumes();
    return records.flatMap((record) => {
      const state = owners.find(
        ({ objectId, epoch }) => objectId === record.objectId && epoch === record.epoch,
      );
      return record.components.flatMap((entry): readonly ResyncView[] => {
        const known = state?.components.find((one) => one.componentId === entry.componentId);
        const view = this.#resync(state, record.components, entry, known);
        return view === undefined ? [] : [{ ...view, volume: shownName(record.name) }];
      });
    });
  }

  #resync(
    owner: OwnerState | undefined,
    all: readonly ComponentRecord[],
    entry: ComponentRecord,
    known: ComponentOwnerState | undefined,
  ): Omit<ResyncView, "volume"> | undefined {
    const { componentId, hostId, deviceId } = entry;
    const state = known?.state ?? entry.state;
    const blocked = known?.blockedReason;
    if (state.kind === "active" && blocked === undefined) return undefined;
    const replaced =
      state.kind === "building" ? all.find((one) => one.componentId === state.replaces) : undefined;
    const isMove = state.kind === "active" || replaced?.state.kind === "active";
    const kind = isMove ? "move" : KINDS[state.kind];
    const progress = known?.resync;
    const isRunning = known?.isCatchingUp === true;
    const reason = waitingReason(this.#plane.hosts, entry, owner, known);
    const isBlocked = blocked?.startsWith("no device") === true;
    return {
      componentId,
      kind,
      state: isRunning ? "running" : isBlocked ? "blocked" : "waiting",
      host: this.#plane.hosts.nameOf(hostId),
      device: deviceId,
      ...(replaced === undefined ? {} : { from: this.#plane.hosts.nameOf(replaced.hostId) }),
      bytesNeeded: progress?.bytesNeeded ?? 0,
      bytesSent: progress?.bytesSent ?? 0,
      bytesSkipped: progress?.bytesSkipped ?? 0,
      ...(progress === undefined ? {} : { share: progress.share }),
      ...(progress?.msLeft === undefined ? {} : { secondsLeft: progress.msLeft / 1000 }),
      ...(reason === undefined ? {} : { reason }),
    };
  }

  /**
   * Fails with `host-unknown`, `device-unknown`, `evacuation-impossible` or `evacuation-too-large`.
   */
  async takeOut(request: TakeOutRequest): Promise<ServicePlanView> {
    const devices = await this.#views.devices();
    const target = this.#find(request, devices);
    const service: ServiceRecord = { id: target.id, kind: request.kind, mode: request.mode };
    const plan = await this.#plane.planService(service);
    const bytes = new Map(await this.#views.componentBytes());
    const view = await this.#viewOf(request, target, plan, bytes);
    const refusal = refusalOf(view, devices);
    if (request.isDryRun)
      return { ...view, ...(refusal === undefined ? {} : { refusal: inOneLine(refusal) }) };
    if (refusal !== undefined) throw refusal;
    const moving = view.components.filter(({ what }) => what === "moves").length;
    const { directory, identity } = this.#world;
    await putService(directory, identity.clusterId, service);
    this.#world.addEvent({
      level: "info",
      kind: "service-left",
      message:
        `${request.kind} ${target.label} is taken out of service: ` +
        (moving === 0
          ? "nothing has to leave it"
          : `${moving} components leave it, with at most ${formatSize(view.bytesAtMost)}`),
      details: { id: target.id, mode: request.mode },
    });
    return view;
  }

  #find(
    { kind, name }: TakeOutRequest,
    devices: readonly DeviceView[],
  ): { readonly id: string; readonly host: string; readonly label: string } {
    if (kind === "host") {
      const host = this.#plane.hosts.find(name);
      if (host !== undefined) return { id: host.hostId, host: host.name, label: host.name };
      throw hostUnknown(
        name,
        this.#plane.hosts.records.map((one) => one.name),
      );
    }
    const found = devices.filter(({ deviceId }) => deviceId.startsWith(name));
    const [only] = found;
    if (only !== undefined && found.length === 1)
      return { id: only.deviceId, host: only.host, label: `${only.path} on ${only.host}` };
    throw new CodedError({
      code: "device-unknown",
      message: `${found.length} devices have an id that begins with "${name.slice(0, 64)}"`,
      hint: "run drystone device list",
    });
  }

  async #viewOf(
    request: TakeOutRequest,
    target: { readonly id: string; readonly host: string },
    plan: ServicePlan,
    bytes: ReadonlyMap<string, number>,
  ): Promise<ServicePlanView> {
    const components = plan.components.map((one): LeavingView => {
      const { volume, componentId, what, place, isWitness } = one;
      return {
        volume: shownName(volume),
        componentId,
        what,
        bytes: isWitness ? 0 : (bytes.get(componentId) ?? 0),
        ...(place === undefined
          ? {}
          : { host: this.#plane.hosts.nameOf(place.hostId), device: place.deviceId }),
      };
    });
    const moving = components.filter(({ what }) => what === "moves");
    const bytesAtMost = moving.reduce((sum, one) => sum + one.bytes, 0);
    const bytesPerSecond = await this.#plane.rebuildBytesPerSecond();
    return {
      kind: request.kind,
      id: target.id,
      host: target.host,
      mode: request.mode,
      isDryRun: request.isDryRun,
      isReady: components.every(({ what }) => what === "stays"),
      components,
      bytesAtMost,
      ...(bytesPerSecond === undefined ? {} : { secondsAtMost: bytesAtMost / bytesPerSecond }),
      unusable: plan.unusable.map(shownName),
      atRisk: plan.atRisk.map(shownName),
    };
  }
}
