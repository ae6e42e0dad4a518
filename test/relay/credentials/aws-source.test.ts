import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { createAwsSource } from "../../../relay/credentials/aws-source.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const sign = { service: "execute-api", region: "eu-west-1", profile: "shadow" };

describe("AWS credentials of a profile", () => {
  it("time out if their source hangs, and are requested again by the next call", async () => {
    const answer = join(temporaryDirectory(), "answer");
    const credentials = { Version: 1, AccessKeyId: "AKIA", SecretAccessKey: "secret" };
    // The program hangs until the file exists.
    useProgram(`/bin/sh -c 'cat ${answer} || sleep 20'`);
    // Long enough for the second call, also on a busy machine.
    const obtain = createAwsSource(sign, 3_000);
    await expect(obtain()).rejects.toThrow(/^no AWS credentials: their source did not answer within 3 s$/);
    writeFileSync(answer, JSON.stringify(credentials));

    expect(await obtain()).toMatchObject({ value: { accessKeyId: "AKIA" }, holdsMs: Number.POSITIVE_INFINITY });
  });
});

function useProgram(command: string): void {
  const file = join(temporaryDirectory(), "config");
  writeFileSync(file, `[profile shadow]\ncredential_process = ${command}\n`);
  vi.stubEnv("AWS_CONFIG_FILE", file);
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
}
