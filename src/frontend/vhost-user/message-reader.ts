/** Messages off a connection, each with the descriptors that came with its first byte. */
import { CodedError, getU32 } from "../../base/index.ts";
import {
  VHOST_FLAG_REPLY,
  VHOST_VERSION,
  VHOST_VERSION_MASK,
  VhostHeaderLayout,
} from "../../format/index.ts";
import type { DescriptorStream, ReceivedDescriptor } from "../../ports/index.ts";
import { demand, VhostViolation } from "./violation.ts";

const HEADER_BYTES = VhostHeaderLayout.sizeBytes;
/** A memory table of eight regions and a configuration space are both shorter. */
const BODY_BYTES_MAX = 4000;

export interface VhostMessage {
  readonly request: number;
  readonly flags: number;
  readonly body: Uint8Array;
  readonly descriptors: ReceivedDescriptor[];
}

export class MessageReader {
  readonly #stream: DescriptorStream;
  readonly #bytes = new Uint8Array(HEADER_BYTES + BODY_BYTES_MAX);
  #filled = 0;
  #descriptors: ReceivedDescriptor[] = [];

  constructor(stream: DescriptorStream) {
    this.#stream = stream;
  }

  /**
   * The next message, undefined if it has not arrived whole, or "end". Never reads past a message,
   * because descriptors tell by their place which one they belong to.
   */
  next(): VhostMessage | "end" | undefined {
    if (this.#filled < HEADER_BYTES) {
      const state = this.#fill(HEADER_BYTES);
      if (state !== "full") return state;
    }
    const { at } = VhostHeaderLayout;
    const flags = getU32(this.#bytes, at.flags);
    const bodyBytes = getU32(this.#bytes, at.bodyBytes);
    const version = flags & VHOST_VERSION_MASK;
    demand(version === VHOST_VERSION, `a message of version ${version}`);
    demand((flags & VHOST_FLAG_REPLY) === 0, "an answer to a question that was not asked");
    demand(bodyBytes <= BODY_BYTES_MAX, `a message of ${bodyBytes} bytes`);
    const state = this.#fill(HEADER_BYTES + bodyBytes);
    if (state !== "full") return state;
    const descriptors = this.#descriptors;
    this.#descriptors = [];
    this.#filled = 0;
    return {
      request: getU32(this.#bytes, at.request),
      flags,
      body: this.#bytes.slice(HEADER_BYTES, HEADER_BYTES + bodyBytes),
      descriptors,
    };
  }

  /** Closes what came with a message that did not arrive whole. */
  close(): void {
    for (const descriptor of this.#descriptors.splice(0)) descriptor.close();
  }

  #fill(goalBytes: number): "full" | "end" | undefined {
    while (this.#filled < goalBytes) {
      const count = this.#receive(goalBytes - this.#filled);
      if (count === 0) return undefined;
      if (count < 0) return "end";
      this.#filled += count;
    }
    return "full";
  }

  #receive(lengthBytes: number): number {
    try {
      return this.#stream.receive(this.#bytes, this.#filled, lengthBytes, this.#descriptors);
    } catch (error) {
      const isClients = error instanceof CodedError && error.code === "descriptors-invalid";
      throw isClients ? new VhostViolation(error.message) : error;
    }
  }
}
