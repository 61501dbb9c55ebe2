/** What a link needs of the world, and what it shares with the host's other links. */
import type { Clock, Log } from "../ports/index.ts";
import type { ChunkPool } from "./chunk-pool.ts";

export interface LinkPorts {
  readonly chunks: ChunkPool;
  readonly clock: Clock;
  readonly log: Log;
}
