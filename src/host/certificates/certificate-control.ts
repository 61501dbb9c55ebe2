/** The handlers that are about certificates, and hosts that go for good. */
import { CodedError } from "../../base/index.ts";
import { listVolumes, removeHost, requireVersion } from "../../cluster/index.ts";
import type { Clock, Directory } from "../../ports/index.ts";
import type { AuthorityKeeper } from "./authority-keeper.ts";
import type { CertificateView } from "./certificate-views.ts";
import type { CertificateKeeper } from "./certificate-keeper.ts";
import type { DataPlaneMethods } from "../data/data-plane-port.ts";
import { findPeer } from "../peers/find-peer.ts";
import type { NewEvent } from "../api/event-ring.ts";
import type { Handlers } from "../api/http-api.ts";
import type { RpcPeer } from "../data/rpc.ts";

export interface CertificateControlWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly hostId: string;
  readonly clock: Clock;
  readonly plane: Pick<RpcPeer<object, DataPlaneMethods>, "call">;
  readonly events: { add(event: NewEvent): unknown };
  /** Undefined on a host without certificates. */
  readonly keeper: CertificateKeeper | undefined;
  /** Undefined where the authority cannot be replaced. */
  readonly authority: AuthorityKeeper | undefined;
  /** Takes the host's member out of the directory, where hosts run it. */
  readonly removeMember: (hostId: string) => Promise<void>;
}

export type CertificateHandlers = Pick<
  Handlers,
  "certificate.show" | "certificate.renew" | "certificate.rotate-authority" | "host.remove"
>;

export function certificateHandlers(world: CertificateControlWorld): CertificateHandlers {
  const keeper = (): CertificateKeeper => {
    if (world.keeper !== undefined) return world.keeper;
    throw new CodedError({
      code: "not-supported",
      message: "this host has no certificate: everything of it is on this machine",
      hint: "drystone init and drystone join make hosts with certificates",
    });
  };
  const view = (): CertificateView => {
    const rotation = world.authority?.view();
    return { ...keeper().view(), ...(rotation === undefined ? {} : { rotation }) };
  };
  return {
    "certificate.show": async () => view(),
    "certificate.renew": async () => {
      await keeper().renew();
      return view();
    },
    "certificate.rotate-authority": async ({ hold = false }) => {
      keeper();
      const authority = world.authority ?? notReplaced();
      await requireVersion(world.directory, world.clusterId, "anotherAuthority");
      await authority.rotate(hold);
      return view();
    },
    "host.remove": async ({ name }) => {
      await remove(world, name);
      return { done: true };
    },
  };
}

function notReplaced(): never {
  throw new CodedError({
    code: "not-supported",
    message: "the directory of a development cluster is no host, and keeps the first authority",
    hint: "drystone init and drystone join make clusters whose authority can be replaced",
  });
}

async function remove(world: CertificateControlWorld, name: string): Promise<void> {
  const { directory, clusterId, clock, plane, events, removeMember } = world;
  const host = await findPeer(plane, name);
  const { hostId } = host;
  if (hostId === world.hostId || host.isUp || host.lease === "held")
    throw new CodedError({
      code: "host-up",
      message: `host ${host.name} runs`,
      hint: `run drystone host maintenance on ${host.name} --mode evacuate, then stop it`,
    });
  const volumes = await listVolumes(directory, clusterId);
  const used = volumes.filter(({ components }) => components.some((one) => one.hostId === hostId));
  if (used.length > 0)
    throw new CodedError({
      code: "host-in-use",
      message: `host ${host.name} holds parts of ${used.length} volumes, ${used[0]?.name} among them`,
      hint: "Wait until they are made anew elsewhere: drystone resync list, drystone settings show",
    });
  await removeHost(directory, clusterId, { hostId, nowMs: Math.round(clock.wallMs()) });
  await removeMember(hostId);
  const message = `host ${host.name} was removed from the cluster; its certificate is refused`;
  events.add({ level: "info", kind: "host-removed", message, details: { hostId } });
}
