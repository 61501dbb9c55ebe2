/** A guest's agent, played by a server at the socket of its port. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { test } from "../../../test/support/test.ts";
import { GuestAgent } from "./guest-agent.ts";

class Played {
  readonly path: string;
  nowMs = 0;
  /** What is said to each question; undefined: nothing. */
  answer: string | undefined = '{"return": {}}\n';
  /** Said again and again after that. */
  flood: string | undefined;
  asked = 0;
  cutOffCount = 0;
  readonly agent: GuestAgent;
  readonly #sockets = new Set<net.Socket>();

  private constructor(t: TestContext, folder: string) {
    this.path = path.join(folder, "agent.sock");
    this.agent = new GuestAgent(this.path, () => this.nowMs);
    const server = net.createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("data", () => {
        this.asked++;
        if (this.answer !== undefined) socket.write(this.answer);
        if (this.flood !== undefined) pour(socket, this.flood);
      });
      socket.on("error", () => {});
      socket.on("close", () => this.cutOffCount++);
    });
    server.listen(this.path);
    t.after(() => {
      this.agent.close();
      for (const socket of this.#sockets) socket.destroy();
      server.close();
    });
  }

  static async begin(t: TestContext): Promise<Played> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-agent-"));
    t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
    const played = new Played(t, folder);
    while (!fs.existsSync(played.path)) await turn();
    return played;
  }

  /** Time passes, as a host sees it that looks once a second. */
  async pass(seconds: number): Promise<boolean> {
    let isSilent = false;
    for (let i = 0; i < seconds; i++) {
      this.nowMs += 1000;
      const before = this.asked;
      isSilent = this.agent.isSilent();
      if (this.nowMs % 10_000 === 0) while (this.asked === before) await turn();
      for (let turns = 0; turns < 5; turns++) await turn();
    }
    return isSilent;
  }
}

function pour(socket: net.Socket, text: string): void {
  const fill = (): void => {
    while (!socket.destroyed && socket.write(text));
  };
  socket.on("drain", fill);
  fill();
}

function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

test("an agent that has answered and does not for half a minute is silent, until the machine is reset", async (t) => {
  const played = await Played.begin(t);
  played.agent.isSilent();
  while (played.asked === 0) await turn();
  assert.equal(await played.pass(60), false);
  played.answer = undefined;
  assert.equal(await played.pass(25), false);
  assert.equal(await played.pass(20), true);
  played.agent.forget();
  assert.equal(played.agent.isSilent(), false, "one that has not answered yet is waited for");
});

test("a machine without an agent, or that stands still, is never called silent", async (t) => {
  const played = await Played.begin(t);
  played.answer = undefined;
  played.agent.isSilent();
  while (played.asked === 0) await turn();
  assert.equal(await played.pass(120), false);
  played.answer = "not JSON\n[1]\n{}\n";
  assert.equal(await played.pass(120), false, "nonsense is no answer");
  played.answer = '{"error": {"class": "CommandNotFound"}}\n';
  assert.equal(await played.pass(20), false);
  played.answer = undefined;
  for (let i = 0; i < 100; i++) {
    played.nowMs += 1000;
    played.agent.stands();
  }
  assert.equal(await played.pass(5), false, "it could not answer");
});

test("who has not looked for a while does not take that for silence", async (t) => {
  const played = await Played.begin(t);
  played.agent.isSilent();
  while (played.asked === 0) await turn();
  await played.pass(10);
  played.nowMs += 600_000;
  assert.equal(played.agent.isSilent(), false);
});

test("a guest that floods its agent's port is read no further, and counts as silent while it does", async (t) => {
  const played = await Played.begin(t);
  played.agent.isSilent();
  while (played.asked === 0) await turn();
  assert.equal(await played.pass(10), false);
  played.flood = '{"return": {}}\n'.repeat(1000);
  const before = played.cutOffCount;
  await played.pass(10);
  while (played.cutOffCount === before) await turn();
  assert.equal(await played.pass(40), true);
  played.flood = undefined;
  assert.equal(await played.pass(20), false, "it answers again");
});
