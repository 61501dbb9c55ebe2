/** What is done through the dashboard's pages, step by step. */
import assert from "node:assert/strict";
import type {
  AccessList,
  HostList,
  SettingsView,
  SnapshotList,
  VmList,
} from "../../src/host/index.ts";
import type { WatchedPage } from "./browser.ts";
import type { ClusterRun } from "./cluster-run.ts";

/** Of the volume web1, which is attached. */
export async function useSnapshots(watched: WatchedPage, cluster: ClusterRun): Promise<void> {
  const { page } = watched;
  await watched.show("volumes/web1");
  await page.getByRole("button", { name: "Take a snapshot" }).click();
  await page.getByLabel(/Name of the snapshot/).fill("monday");
  await page.keyboard.press("Enter");
  await page.getByRole("cell", { name: "web1@monday", exact: true }).waitFor();

  await watched.show("snapshots");
  await page.getByRole("button", { name: "Clone web1@monday" }).click();
  await watched.checkAccess("the clone's dialog");
  await page.getByLabel("Name of the new volume").fill("web2");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "web2" }).waitFor();

  await watched.show("snapshots");
  await page.getByRole("button", { name: "Roll back web1 to web1@monday" }).click();
  const dialog = page.getByRole("dialog");
  assert.ok(await dialog.getByRole("button", { name: "Roll back" }).isDisabled(), "unconfirmed");
  await dialog.getByLabel(/Type web1/).fill("web1");
  await dialog.getByRole("button", { name: "Roll back" }).click();
  await dialog
    .getByRole("alert")
    .getByText(/attached/)
    .waitFor();
  await page.keyboard.press("Escape");
  await cluster.cli(1, ["volume", "detach", "web1"]);
  await page.getByRole("button", { name: "Roll back web1 to web1@monday" }).click();
  await dialog.getByLabel(/Type web1/).fill("web1");
  await page.keyboard.press("Enter");
  await page.getByText("web1 is what web1@monday holds.").waitFor();
  await cluster.cli(1, ["volume", "attach", "web1"]);
  const { snapshots } = await cluster.cli<SnapshotList>(1, ["snapshot", "list"]);
  assert.deepEqual(
    snapshots.map(({ name }) => name),
    ["web1@monday"],
  );
}

export async function dropSnapshot({ page }: WatchedPage): Promise<void> {
  await page.getByRole("link", { name: "Snapshots", exact: true }).click();
  await page.getByRole("button", { name: "Delete web1@monday" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByText(/There is no snapshot yet/).waitFor();
}

/** What would happen is shown for each of the three ways before anything is done. */
export async function maintain(watched: WatchedPage, cluster: ClusterRun): Promise<void> {
  const { page } = watched;
  const stateOf = async (): Promise<string | undefined> => {
    const { hosts } = await cluster.cli<HostList>(1, ["host", "list"]);
    return hosts.find(({ name }) => name === "h2")?.maintenance;
  };
  await watched.show("hosts");
  await page.getByRole("button", { name: "Maintenance of h2" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("nothing has to leave: it may be stopped at once").waitFor();
  await watched.checkAccess("the dialog of maintenance");
  await watched.takePicture("maintenance");
  await dialog.getByRole("radio", { name: /Move everything away/ }).check();
  await dialog.getByText("nothing has to leave").waitFor({ state: "detached" });
  await dialog.getByRole("radio", { name: /Move nothing/ }).check();
  await dialog.getByText("Copies that stay").waitFor();
  assert.equal(await stateOf(), undefined, "a question changes nothing");
  await dialog.getByRole("button", { name: "Begin maintenance" }).click();
  await page.getByText("in maintenance: nothing leaves").waitFor();
  assert.equal(await stateOf(), "none");
  await watched.show("hosts/h2");
  await page.getByText("Nothing leaves it any more: it may be stopped.").waitFor();
  await watched.checkAccess("a host in maintenance");
  await page.getByRole("button", { name: "End maintenance of h2" }).click();
  await page.getByRole("button", { name: "Put it back into service" }).click();
  await page.getByText("h2 is back in service.").waitFor();
  assert.equal(await stateOf(), undefined);
}

export async function changeSettings(watched: WatchedPage, cluster: ClusterRun): Promise<void> {
  const { page } = watched;
  await watched.show("settings");
  await page.getByLabel(/Wait for a host or device/).fill("1800");
  await page.getByRole("button", { name: "Save" }).first().click();
  await page.getByText("Saved; it holds from now on.").waitFor();
  const { repairDelaySeconds } = await cluster.cli<SettingsView>(1, ["settings", "show"]);
  assert.equal(repairDelaySeconds, 1800);
}

/** On the volume web2, which nobody has attached. */
export async function defineMachine(watched: WatchedPage, cluster: ClusterRun): Promise<void> {
  const { page } = watched;
  await watched.show("vms");
  await page.getByRole("button", { name: "Define a machine" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("guest");
  await dialog.getByLabel(/Its disk/).selectOption("web2");
  await dialog.getByLabel(/Memory/).fill("512M");
  await watched.checkAccess("the dialog of a machine");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Start: guest" }).waitFor();
  const { vms } = await cluster.cli<VmList>(1, ["vm", "list"]);
  assert.deepEqual(
    vms.map(({ name, volumes, memoryBytes }) => [name, volumes, memoryBytes]),
    [["guest", ["web2"], 2 ** 29]],
  );
  await page.getByRole("button", { name: "Delete: guest" }).click();
  await dialog.getByLabel(/Type guest/).fill("guest");
  await page.keyboard.press("Enter");
  await page.getByText(/No machine is defined yet/).waitFor();
}

/** The token is shown once, and what was done stands in the audit log. */
export async function useTokens(watched: WatchedPage, cluster: ClusterRun): Promise<void> {
  const { page } = watched;
  await watched.show("access");
  await page.getByRole("button", { name: "Make a token", exact: true }).click();
  await page.getByLabel("Whose it is or what it is for").fill("anna");
  await page.getByRole("radio", { name: /Operator/ }).check();
  await watched.checkAccess("the dialog of a token");
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByText("It is shown this once.").waitFor();
  await page.getByRole("button", { name: "I have it" }).click();
  await page.getByRole("button", { name: "Take back the token of anna" }).click();
  const { tokens } = await cluster.cli<AccessList>(1, ["access", "list"]);
  assert.deepEqual(
    tokens.map(({ name, role }) => `${name} ${role}`),
    ["anna operator"],
  );
  await page.getByRole("button", { name: "Take it back" }).click();
  await page.getByText("The token of anna is taken back.").waitFor();
  await watched.show("audit");
  await page.getByRole("cell", { name: "access.revoke" }).waitFor();
  await page.getByLabel("Contains").fill("host.maintenance-on");
  await page.getByRole("cell", { name: "access.revoke" }).waitFor({ state: "detached" });
  assert.equal(await page.getByRole("cell", { name: "done" }).count(), 1, "questions are none");
  assert.equal(await page.getByRole("cell", { name: "dry-run" }).count(), 3);
  await page.getByLabel("Contains").fill("snapshot.rollback");
  await page.getByRole("cell", { name: "volume-attached" }).waitFor();
}
