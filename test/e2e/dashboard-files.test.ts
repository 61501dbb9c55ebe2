/** The dashboard as a host serves it: its files and nothing else, under a strict policy. */
import assert from "node:assert/strict";
import * as http from "node:http";
import * as net from "node:net";
import { test } from "node:test";
import { startHost } from "./harness.ts";

const PAGE_BYTES_MAX = 500_000;

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

function ask(
  url: string,
  headers: Readonly<Record<string, string>> = {},
  method = "GET",
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const { statusCode = 0, headers: answered } = response;
        resolve({ status: statusCode, headers: answered, body: Buffer.concat(chunks) });
      });
    });
    request.on("error", reject);
    request.end();
  });
}

/** The request line as it is: http clients tidy paths before they send them. */
function rawStatus(api: string, path: string): Promise<number> {
  const { hostname, port } = new URL(api);
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), hostname, () => {
      socket.write(
        `GET ${path} HTTP/1.1\r\nhost: ${hostname}:${port}\r\nconnection: close\r\n\r\n`,
      );
    });
    let text = "";
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => (text += chunk));
    socket.on("error", reject);
    socket.on("close", () => resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1])));
  });
}

test("every host serves the dashboard, small and under a strict policy", async (t) => {
  const { api } = await startHost(t);
  const page = await ask(`${api}/`, { "accept-encoding": "gzip" });
  assert.equal(page.status, 200);
  assert.equal(page.headers["content-type"], "text/html; charset=utf-8");
  const policy = String(page.headers["content-security-policy"]);
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/);
  assert.match(policy, /frame-ancestors 'none'/);
  assert.doesNotMatch(policy, /unsafe|\*|data:/);
  assert.equal(page.headers["x-content-type-options"], "nosniff");
  assert.equal(page.headers["access-control-allow-origin"], undefined);

  const html = (await ask(`${api}/index.html`)).body.toString();
  assert.doesNotMatch(html, /<script(?![^>]*\ssrc=)|<style|\son\w+=/, "nothing is inline");
  const paths = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1]!);
  assert.ok(
    paths.every((path) => path.startsWith("/")),
    `not from this host: ${paths.join(" ")}`,
  );
  let total = page.body.length;
  for (const path of paths) {
    const file = await ask(`${api}${path}`, { "accept-encoding": "gzip" });
    assert.equal(file.status, 200, path);
    total += file.body.length;
    if (!path.startsWith("/assets/")) continue;
    assert.match(String(file.headers["cache-control"]), /immutable/);
  }
  t.diagnostic(`the page weighs ${total} bytes compressed`);
  assert.ok(total < PAGE_BYTES_MAX, `${total} bytes`);
});

test("paths that climb, and pages of others, get nothing of it", async (t) => {
  const { api } = await startHost(t);
  const climbing = [
    "/../package.json",
    "/assets/../../package.json",
    "/assets/..%2f..%2fpackage.json",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/assets/%00",
    "/assets",
    "/index.html/",
    "//index.html",
    "//",
    "//[",
    "http://[",
    "*",
  ];
  for (const path of climbing) assert.equal(await rawStatus(api, path), 404, path);
  assert.equal((await ask(`${api}/`, {}, "POST")).status, 404);
  const foreign = [
    { origin: "http://evil.example" },
    { host: "evil.example" },
    { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" },
  ];
  for (const headers of foreign) {
    for (const path of ["/", "/v1/status", "/metrics"]) {
      const { status, headers: answered } = await ask(`${api}${path}`, headers);
      assert.equal(status, 403, JSON.stringify(headers));
      assert.equal(answered["access-control-allow-origin"], undefined);
    }
  }
  const link = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" };
  assert.equal((await ask(`${api}/`, link)).status, 200, "a link to it works");
});
