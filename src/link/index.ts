export { Link } from "./link.ts";
export type { CallAnswer, CallRequest, LinkIdentity } from "./link.ts";
export { Links } from "./links.ts";
export type { CallHandler, LinksPorts, Peer, PeerAddress } from "./links.ts";
