import { describe, expect, it } from "vitest";
import { exportRequests } from "../../../relay/exchange/export.ts";
import type { ExportFormat } from "../../../relay/exchange/exported.ts";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { run } from "../../support/processes/command-line.ts";

const target = new URL("https://stage.example:8443");

describe("an export for a target", () => {
  it("is a HAR whose URLs have the target's origin", async () => {
    const { log } = JSON.parse(await exported("har"));

    expect(log.entries[0].request.url).toBe("https://stage.example:8443/a?b");
  });

  it("is a k6 script that sends to the target by default", async () => {
    expect(await exported("k6")).toContain('(__ENV.TARGET || "https://stage.example:8443")');
  });

  it("is a curl script that sends to the target by default", async () => {
    const [head] = (await exported("curl")).split("send() {");
    const targetWith = async (...args: readonly string[]) =>
      (await run("sh", "-c", `${head}\nprintf %s "$target"`, "requests.sh", ...args)).stdout;

    expect(await targetWith()).toBe("https://stage.example:8443");
    expect(await targetWith("http://localhost:1")).toBe("http://localhost:1");
  });
});

async function exported(format: ExportFormat): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of exportRequests(format, one(), { target })) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

async function* one(): AsyncGenerator<CapturedRequest> {
  const parts = { method: "GET", path: "/a?b", version: "1.1", src: "", bodyState: "complete" } as const;
  yield { ...parts, id: "r", index: 0, capturedAtMs: 0, headers: ["Host", "shop.example"], body: new Uint8Array() };
}
