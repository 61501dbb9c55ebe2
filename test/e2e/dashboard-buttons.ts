/** Every other button and form of the dashboard's pages, pressed as somebody would. */
import assert from "node:assert/strict";
import type { DeviceList, HaView, VmView, VolumeView } from "../../src/host/index.ts";
import type { WatchedPage } from "./browser.ts";
import type { ClusterRun } from "./cluster-run.ts";

const SLOW_MS_MAX = 60_000;

/** Presses, confirms, and waits for what is said of it. */
async function press(
  { page }: WatchedPage,
  button: string | RegExp,
  verb: string,
  said: string,
): Promise<void> {
  await page.getByRole("button", { name: button, exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: verb, exact: true }).click();
  await page.getByText(said).last().waitFor();
}

/** On the volume web2, which nobody has attached: what a volume's own page offers. */
export async function useVolume(watched: WatchedPage, cluster: ClusterRun): Promise<void> {
  const { page } = watched;
  const shown = (): Promise<VolumeView> => cluster.cli<VolumeView>(1, ["volume", "show", "web2"]);
  await watched.show("volumes/web2");
  await press(watched, "Attach", "Attach", "web2 is attached.");
  await page.getByRole("heading", { name: "Attached on h1" }).waitFor();
  await page.getByRole("button", { name: "Change", exact: true }).click();
  const dialog = page.getByRole("dialog");
  const change = dialog.getByRole("button", { name: "Change" });
  assert.ok(await change.isDisabled(), "nothing is different yet");
  await watched.checkAccess("the dialog of a change");
  await dialog.getByLabel(/Grow to/).fill("1536M");
  await change.click();
  await page.getByText("web2 has grown.").waitFor();
  assert.equal((await shown()).sizeBytes, 1536 * 2 ** 20);
  await press(watched, "Detach", "Detach", "web2 is detached.");
  assert.equal((await shown()).attachment, undefined);

  await page.getByRole("button", { name: "Clone", exact: true }).click();
  await dialog.getByLabel("Name of the new volume").fill("web3");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "web3" }).waitFor();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await dialog.getByLabel(/Type web3/).fill("web3");
  await page.keyboard.press("Enter");
  await page.getByText("web3 is deleted.").waitFor();
  await page.getByRole("link", { name: "web2", exact: true }).waitFor();
  // What is shown was read before, for a moment.
  await page.getByRole("link", { name: "web3", exact: true }).waitFor({ state: "detached" });
}

/** A device is read through; what its removal would do is told, and it is not done. */
export async function useDevice(watched: WatchedPage, cluster: ClusterRun): Promise<void> {
  const { page } = watched;
  const { devices } = await cluster.cli<DeviceList>(1, ["device", "list"]);
  const [device] = devices.filter(({ host }) => host === "h3");
  assert.ok(device !== undefined);
  const name = device.deviceId.slice(0, 8);
  await watched.show("devices");
  await page.getByRole("button", { name: `Scrub ${name}`, exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Scrub" }).click();
  const found = page.getByText(`The scrub of device ${name} found nothing wrong.`);
  await found.waitFor({ timeout: SLOW_MS_MAX });
  await page.getByRole("button", { name: `Remove ${name}`, exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("Asking what would happen…").waitFor({ state: "detached" });
  await watched.checkAccess("the dialog of a device");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  const after = await cluster.cli<DeviceList>(1, ["device", "list"]);
  assert.ok(after.devices.every(({ isLeaving }) => isLeaving !== true));
}

export async function useAvailability(watched: WatchedPage, cluster: ClusterRun): Promise<void> {
  const { page } = watched;
  const shown = (): Promise<HaView> => cluster.cli<HaView>(1, ["ha", "show"]);
  await watched.show("settings");
  await press(watched, "Disarm", "Disarm", "High availability is disarmed.");
  await page.getByText("stay where they are").waitFor();
  assert.equal((await shown()).isArmed, false);
  await press(watched, "Arm", "Arm", "High availability is armed.");
  await page.getByText("start elsewhere").waitFor();
  await page.getByLabel(/A start that leaves too little room/).selectOption("off");
  await page.getByRole("button", { name: "Save" }).last().click();
  await page.getByText("Saved; it holds from now on.").last().waitFor();
  const { isArmed, admission } = await shown();
  assert.deepEqual({ isArmed, admission }, { isArmed: true, admission: "off" });
}

/** What a page looks like is the reader's choice, and holds for the next visit. */
export async function chooseColours({ page }: WatchedPage): Promise<void> {
  const choice = page.getByLabel("Colours");
  await choice.selectOption("dark");
  await page.reload();
  await page.locator('html[data-theme="dark"]').waitFor();
  await choice.selectOption("system");
  await page.locator("html:not([data-theme])").waitFor();
}

/** On the page of the machine `guest`, which runs; it is gone in the end. */
export async function useMachine(watched: WatchedPage, show: () => Promise<VmView>): Promise<void> {
  const { page } = watched;
  const slow = { timeout: SLOW_MS_MAX };
  await press(
    watched,
    "Do not protect: guest",
    "Do not protect",
    "guest is not protected any more.",
  );
  await press(watched, "Protect: guest", "Protect", "guest is to be protected.");
  await page.getByRole("button", { name: "Do not protect: guest" }).waitFor();
  const { host: before } = await show();
  await page.getByRole("button", { name: "Migrate: guest" }).click();
  await watched.checkAccess("the dialog of a migration");
  await page.getByRole("dialog").getByRole("button", { name: "Migrate" }).click();
  await page.getByText(/guest moves to h\d\./).waitFor(slow);
  const migrated = page.locator(".facts dd", { hasText: new RegExp(`^(?!${before})h\\d$`) });
  await migrated.first().waitFor(slow);
  await page.locator('button[aria-label="Migrate: guest"]:enabled').waitFor(slow);
  await press(watched, "Reset: guest", "Reset", "guest is reset.");
  await press(watched, "End at once: guest", "End it", "guest is being ended.");
  await page.getByRole("button", { name: "Start: guest" }).waitFor(slow);
  await press(watched, "Start: guest", "Start", "guest is being started.");
  await press(watched, "Stop: guest", "Stop", "guest is being stopped.");
  await press(watched, "End at once: guest", "End it", "guest is being ended.");
  const drop = page.getByRole("button", { name: "Delete: guest" });
  await drop.click(slow);
  await page.getByLabel(/Type guest/).fill("guest");
  await page.keyboard.press("Enter");
  await page.getByText(/No machine is defined yet/).waitFor();
}
