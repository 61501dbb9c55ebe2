import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "../../test/support/test.ts";
import type { AttachmentView } from "../host/index.ts";
import { attachmentLines } from "./render-client.ts";

const attachment = (uri: string): AttachmentView => ({
  ...{ volume: "web1", host: "h1", address: "127.0.0.1:10809", uri, tls: false },
  ...{ kind: "nbd", readOnly: false, state: "online" },
});

test("what is printed for a shell gives its program the address, and does nothing else", () => {
  const uri = "nbd+unix:///web1?socket=/run/x';echo$IFS'broken'>&2;'.sock";
  const lines = attachmentLines(attachment(uri));
  const line = lines.find((text) => text.startsWith("  try: "))?.slice("  try: ".length);
  const script = `nbdinfo() { printf %s "$1"; }; ${line}`;
  assert.equal(execFileSync("sh", ["-c", script]).toString(), uri);
  const key = attachmentLines({ ...attachment("nbds://127.0.0.1:10809/it's"), tls: true });
  assert.ok(key.some((text) => text.includes("'nbds://NAME@127.0.0.1:10809/it'\\''s?")));
});
