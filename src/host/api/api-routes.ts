/**
 * The API for programs: each operation's method and path, what it takes and answers as types, and a
 * way to call it with `fetch`. Nothing of Node is needed, so it works in a browser as well.
 */
import type { OperationName, RequestOf, ResponseOf } from "./operations.ts";

export type { OperationName, RequestOf, ResponseOf } from "./operations.ts";
export type * from "./views.ts";
export type * from "../volumes/nbd-client-views.ts";
export type {
  ClusterKeyView,
  KeyDomainList,
  KeyDomainView,
  VolumeEncryptionView,
} from "../keys/key-views.ts";
export type * from "../upkeep/repair-views.ts";
export type * from "../volumes/snapshot-views.ts";

interface Route {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
}

function route(method: Route["method"], path: string): Route {
  return { method, path };
}

/** The same as in the operation table, which a test sees to. */
export const routes: Readonly<Record<OperationName, Route>> = {
  status: route("GET", "/v1/status"),
  "health.list": route("GET", "/v1/health"),
  "health.show": route("GET", "/v1/health/:check"),
  "host.list": route("GET", "/v1/hosts"),
  "host.show": route("GET", "/v1/hosts/:name"),
  "network.show": route("GET", "/v1/networks"),
  "device.list": route("GET", "/v1/devices"),
  "device.scrub": route("POST", "/v1/devices/:device/scrub"),
  "volume.create": route("POST", "/v1/volumes"),
  "volume.list": route("GET", "/v1/volumes"),
  "volume.show": route("GET", "/v1/volumes/:name"),
  "volume.resize": route("POST", "/v1/volumes/:name/resize"),
  "volume.delete": route("DELETE", "/v1/volumes/:name"),
  "volume.attach": route("POST", "/v1/volumes/:name/attach"),
  "volume.detach": route("POST", "/v1/volumes/:name/detach"),
  "volume.move": route("POST", "/v1/volumes/:name/move"),
  "snapshot.create": route("POST", "/v1/snapshots/:name"),
  "snapshot.list": route("GET", "/v1/snapshots"),
  "snapshot.delete": route("DELETE", "/v1/snapshots/:name"),
  "snapshot.rollback": route("POST", "/v1/snapshots/:name/rollback"),
  "volume.changes": route("POST", "/v1/volumes/:name/changes"),
  "volume.clone": route("POST", "/v1/volumes/:name/clone"),
  "volume.set": route("POST", "/v1/volumes/:name/policy"),
  "resync.list": route("GET", "/v1/resyncs"),
  "settings.show": route("GET", "/v1/settings"),
  "settings.change": route("POST", "/v1/settings"),
  "host.maintenance-on": route("POST", "/v1/hosts/:name/maintenance-on"),
  "host.maintenance-off": route("POST", "/v1/hosts/:name/maintenance-off"),
  "device.remove": route("POST", "/v1/devices/:device/remove"),
  "device.add": route("POST", "/v1/devices"),
  "device.keep": route("POST", "/v1/devices/:device/keep"),
  "vm.create": route("POST", "/v1/vms"),
  "vm.list": route("GET", "/v1/vms"),
  "vm.show": route("GET", "/v1/vms/:name"),
  "vm.start": route("POST", "/v1/vms/:name/start"),
  "vm.stop": route("POST", "/v1/vms/:name/stop"),
  "vm.kill": route("POST", "/v1/vms/:name/kill"),
  "vm.delete": route("DELETE", "/v1/vms/:name"),
  "vm.set": route("POST", "/v1/vms/:name/set"),
  "vm.migrate": route("POST", "/v1/vms/:name/migrate"),
  "vm.protect": route("POST", "/v1/vms/:name/protect"),
  "vm.unprotect": route("POST", "/v1/vms/:name/unprotect"),
  "vm.why": route("GET", "/v1/vms/:name/why"),
  "vm.console": route("GET", "/v1/vms/:name/console"),
  "vm.type": route("POST", "/v1/vms/:name/type"),
  "vm.reset": route("POST", "/v1/vms/:name/reset"),
  "ha.show": route("GET", "/v1/ha"),
  "ha.set": route("POST", "/v1/ha/set"),
  "ha.arm": route("POST", "/v1/ha/arm"),
  "ha.disarm": route("POST", "/v1/ha/disarm"),
  "certificate.show": route("GET", "/v1/certificate"),
  "certificate.renew": route("POST", "/v1/certificate/renew"),
  "certificate.rotate-authority": route("POST", "/v1/certificate/rotate-authority"),
  "host.remove": route("POST", "/v1/hosts/:name/remove"),
  "whatif.fail": route("GET", "/v1/whatif/fail/:name"),
  "upgrade.show": route("GET", "/v1/upgrade"),
  "upgrade.finalize": route("POST", "/v1/upgrade/finalize"),
  "access.create": route("POST", "/v1/access"),
  "access.list": route("GET", "/v1/access"),
  "access.revoke": route("DELETE", "/v1/access/:id"),
  "audit.list": route("GET", "/v1/audit"),
  "client.create": route("POST", "/v1/clients"),
  "client.list": route("GET", "/v1/clients"),
  "client.delete": route("DELETE", "/v1/clients/:name"),
  "key.show": route("GET", "/v1/cluster-key"),
  "key.rotate": route("POST", "/v1/cluster-key/rotate"),
  "key-domain.list": route("GET", "/v1/key-domains"),
  "key-domain.destroy": route("DELETE", "/v1/key-domains/:name"),
  "token.create": route("POST", "/v1/tokens"),
  stats: route("GET", "/v1/stats"),
  events: route("GET", "/v1/events"),
};

/** A refusal: its code, which callers may branch on, what happened, and the next step. */
export class ApiRefusal extends Error {
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: string, message: string, hint?: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

/** The path with the request's fields in it, and what is left of the request. */
export function pathOf(
  name: OperationName,
  request: object,
): { readonly path: string; readonly rest: Readonly<Record<string, unknown>> } {
  const rest: Record<string, unknown> = { ...request };
  const path = routes[name].path.replace(/:(\w+)/g, (_match, field: string) => {
    const value = String(rest[field]);
    delete rest[field];
    return encodeURIComponent(value);
  });
  return { path, rest };
}

export interface ApiOptions {
  /** For example `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/**
 * Asks the host at `base`, such as `http://127.0.0.1:7400`; in a page that it serves, `base` is "".
 * Fails with `ApiRefusal`; its code is `connection-failed` if nobody answers.
 */
export async function callOperation<N extends OperationName>(
  base: string,
  name: N,
  request: RequestOf<N>,
  options: ApiOptions = {},
): Promise<ResponseOf<N>> {
  const { path, rest } = pathOf(name, request);
  const { method } = routes[name];
  const headers = { ...options.headers };
  const query = new URLSearchParams();
  if (method !== "POST")
    for (const [key, value] of Object.entries(rest)) query.set(key, String(value));
  const url = `${base}${query.size > 0 ? `${path}?${query}` : path}`;
  const init: RequestInit = { ...(options.signal && { signal: options.signal }), method, headers };
  const body = { headers: { ...headers, "content-type": "application/json" } };
  const response = await reach(
    url,
    method === "POST" ? { ...init, ...body, body: JSON.stringify(rest) } : init,
  );
  return (await response.json()) as ResponseOf<N>; // The host answers by the same table.
}

/** Fails as `callOperation`; with AbortError if a signal says so. */
export async function reach(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { ...init, redirect: "error" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiRefusal("connection-failed", "The host does not answer.", "It may be stopped.");
  }
  if (response.ok) return response;
  const answer = (await response.json().catch(() => ({}))) as {
    readonly error?: { readonly code?: string; readonly message?: string; readonly hint?: string };
  };
  const { code, message, hint } = answer.error ?? {};
  throw new ApiRefusal(code ?? "internal", message ?? `status ${response.status}`, hint);
}
