/** Asks another host's API, as an operator would, with this host's own certificate. */
import { X509Certificate } from "node:crypto";
import { CodedError } from "../../base/index.ts";
import { listHosts } from "../../cluster/index.ts";
import { identityOf } from "../../platform/index.ts";
import type { Directory } from "../../ports/index.ts";
import { callApi } from "../api/api-call.ts";
import type { HostTls } from "../certificates/tls-folder.ts";

export interface OtherHostsWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  /** Undefined where APIs are open: in development clusters. */
  readonly tls: HostTls | undefined;
}

export class OtherHosts {
  readonly #world: OtherHostsWorld;

  constructor(world: OtherHostsWorld) {
    this.#world = world;
  }

  /** Fails as that host refuses, with `host-unknown`, or with `connection-failed`. */
  async call(
    hostId: string,
    method: "GET" | "POST" | "DELETE",
    path: string,
    body?: object,
  ): Promise<unknown> {
    const { directory, clusterId } = this.#world;
    const host = (await listHosts(directory, clusterId)).find((one) => one.hostId === hostId);
    if (host === undefined)
      throw new CodedError({
        code: "host-unknown",
        message: `the cluster has no host ${hostId.slice(0, 8)} any more`,
        hint: "run drystone host list",
      });
    return await this.callAt(host, method, path, body);
  }

  /** Without a look into the directory. Fails as that host refuses, or with `connection-failed`. */
  async callAt(
    { hostId, managementAddress }: { readonly hostId: string; readonly managementAddress: string },
    method: "GET" | "POST" | "DELETE",
    path: string,
    body?: object,
    limitMs?: number,
  ): Promise<unknown> {
    const { tls } = this.#world;
    const protocol = tls === undefined ? "http" : "https";
    return await callApi(`${protocol}://${managementAddress}`, method, path, body, {
      ...(tls === undefined ? {} : optionsOf(tls, hostId)),
      ...(limitMs === undefined ? {} : { limitMs }),
    });
  }
}

function optionsOf({ trust, clusterId }: HostTls, hostId: string): Parameters<typeof callApi>[4] {
  const { caPem, certificatePem, keyPem } = trust.credentials;
  return {
    tls: {
      ca: caPem,
      cert: certificatePem,
      key: keyPem,
      minVersion: "TLSv1.3",
      checkServerIdentity: (_name, { raw }) => {
        const shown = identityOf(new X509Certificate(raw));
        if (shown?.clusterId === clusterId && shown.name === hostId) return undefined;
        return new Error("another host answers at its address");
      },
    },
  };
}
