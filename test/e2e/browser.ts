/** Debian's Chromium on a page of a host, and what a page is checked for. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { smallPicture } from "./small-picture.ts";

const TIMEOUT_MS = 30_000;
const CHROMIUM = "/usr/bin/chromium";
const AXE = fileURLToPath(import.meta.resolve("axe-core/axe.min.js"));
/** Where pictures of the pages go, if they are wanted: docs/operating/dashboard. */
const PICTURES = process.env["DRYSTONE_PICTURES"];

/** Why tests in a browser cannot run here; never so where everything is installed, as in CI. */
export const browserMissing: string | false =
  fs.existsSync(CHROMIUM) || process.env["CI"] === "true"
    ? false
    : "needs Debian's chromium: npm test installs it as root";

export async function startBrowser(t: TestContext): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-background-networking"],
  });
  t.after(() => browser.close());
  return browser;
}

/** A page that must ask nobody but `origin` and report no error. */
export class WatchedPage {
  readonly page: Page;
  readonly #origin: string;
  readonly #faults: string[] = [];

  private constructor(page: Page, origin: string) {
    this.page = page;
    this.#origin = origin;
    page.on("pageerror", (error) => void this.#faults.push(`failed: ${error.message}`));
    page.on("console", (message) => {
      // What the host refuses is told on the page; the browser notes it here as well.
      const isRefusal = message.text().startsWith("Failed to load resource");
      if (message.type() === "error" && !isRefusal) this.#faults.push(message.text());
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(`${origin}/`)) this.#faults.push(`asks ${request.url()}`);
    });
  }

  static async open(
    browser: Browser,
    origin: string,
    options: BrowserContextOptions = {},
  ): Promise<WatchedPage> {
    const context = await browser.newContext(options);
    const watched = new WatchedPage(await context.newPage(), origin);
    watched.page.setDefaultTimeout(TIMEOUT_MS);
    await watched.page.goto(`${origin}/`);
    return watched;
  }

  async show(place: string): Promise<void> {
    await this.page.goto(`${this.#origin}/#/${place}`);
    await this.page.locator("main .card, main .health").first().waitFor();
  }

  async takePicture(name: string): Promise<void> {
    if (PICTURES === undefined) return;
    const picture = smallPicture(await this.page.screenshot());
    fs.writeFileSync(path.join(PICTURES, `${name}.png`), picture);
  }

  /** No violation of what axe-core knows, in what is shown now. */
  async checkAccess(where: string): Promise<void> {
    // Through the debugger: the page's own policy forbids scripts from elsewhere.
    await this.page.evaluate(fs.readFileSync(AXE, "utf8"));
    const found = await this.page.evaluate<readonly string[]>(
      `axe.run(document).then(({ violations }) => violations.flatMap(({ id, nodes }) =>
        nodes.map(({ html, failureSummary }) => id + ": " + html + " " + failureSummary)))`,
    );
    assert.deepEqual(found, [], `${where} cannot be used by everybody`);
  }

  checkFaults(): void {
    assert.deepEqual(this.#faults, []);
  }
}
