/**
 * How a development cluster is told what to do: a line over its unix socket, `kill h2` and the
 * like, answered with a line of JSON. One order for each connection.
 */
import { CodedError, errorText } from "../../base/index.ts";
import type { ByteStream, Listener, Network } from "../../ports/index.ts";

const ORDER_LENGTH_MAX = 1000;

export type Obey = (order: string) => Promise<void>;

/** Fails as `Network.listen`. What is under way is not waited for when the listener closes. */
export async function listenForOrders(
  network: Network,
  path: string,
  obey: Obey,
): Promise<Listener> {
  const streams = new Set<ByteStream>();
  const listener = await network.listen({ kind: "unix", path }, (stream) => {
    streams.add(stream);
    take(stream, obey, () => streams.delete(stream));
  });
  return {
    address: listener.address,
    close: async () => {
      await listener.close();
      for (const stream of streams) stream.destroy();
    },
  };
}

/**
 * Never paused: only who reads on sees the other side's end, without which the connection would
 * stay open for as long as the cluster runs.
 */
function take(stream: ByteStream, obey: Obey, closed: () => void): void {
  let said = "";
  let isHeard = false;
  stream.start({
    data: (bytes) => {
      if (isHeard) return;
      said += Buffer.from(bytes).toString();
      const end = said.indexOf("\n");
      if (end < 0 && said.length < ORDER_LENGTH_MAX) return;
      isHeard = true;
      void answerTo(said.slice(0, Math.max(0, end)), obey).then((answer) => {
        stream.write(Buffer.from(`${JSON.stringify(answer)}\n`), -1);
        stream.end();
      });
    },
    written: () => {},
    drained: () => {},
    ended: () => {
      if (!isHeard) stream.end();
    },
    closed,
  });
}

async function answerTo(order: string, obey: Obey): Promise<object> {
  try {
    await obey(order);
    return { done: true };
  } catch (error) {
    if (error instanceof CodedError) return { error: error.fault };
    return { error: { code: "bug", message: errorText(error) } };
  }
}
