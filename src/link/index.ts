export { CHUNKS_KEPT_BYTES_MAX } from "./chunk-pool.ts";
export { Link } from "./link.ts";
export type { CallAnswer, CallRequest } from "./link.ts";
export type { LinkIdentity } from "./link-hello.ts";
export { Links, unknownCall } from "./links.ts";
export type { HostVerdict } from "./links.ts";
export type { CallHandler, LinksPorts, Peer, PeerAddress } from "./links.ts";
export type { SpokenVersions } from "./spoken-versions.ts";
