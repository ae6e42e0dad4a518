import { beforeEach, describe, expect, it, vi } from "vitest";
import { readSecret, SecretError } from "../../../relay/aws/secrets-manager.ts";
import { findSignatureMistake } from "../../support/aws/signature-check.ts";
import { type Answer, ShadowServer } from "../../support/servers/shadow-server.ts";

const keys = { id: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI", service: "secretsmanager" };
const arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/staging-AbC123";

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", keys.id);
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", keys.secret);
});

describe("a secret in Secrets Manager", () => {
  it("is read by a signed call of GetSecretValue", async () => {
    const { server, read } = await served({ SecretString: "s3cret" });

    expect(await read({ id: "shop/staging" })).toBe("s3cret");
    const [request] = server.received;
    expect([request.method, request.path, request.body.toString()]).toEqual([
      "POST",
      "/",
      '{"SecretId":"shop/staging"}',
    ]);
    expect(request.headers).toMatchObject({
      "content-type": "application/x-amz-json-1.1",
      "x-amz-target": "secretsmanager.GetSecretValue",
    });
    expect(findSignatureMistake(request, { ...keys, region: "eu-central-1" })).toBeUndefined();
  });

  it("is asked for in its own region if it is named by its ARN", async () => {
    const { server, read } = await served({ SecretString: "s3cret" });
    await read({ id: arn });

    expect(findSignatureMistake(server.received[0], { ...keys, region: "eu-west-1" })).toBeUndefined();
  });

  it.each([
    ['{"key":"abc","other":"x"}', "abc"],
    ['{"key":17}', "17"],
    ['{"key":false}', "false"],
    ['{"key":""}', ""],
  ])("may be one field of its JSON: %s", async (SecretString, value) => {
    expect(await (await served({ SecretString })).read({ id: "shop", field: "key" })).toBe(value);
  });

  it.each([
    ['{"other":"v4lue"}', "it has no field key"],
    ['{"key":{"a":"v4lue"}}', "its field key is not a text"],
    ['{"key":null}', "its field key is not a text"],
    ["v4lue", "it is not a JSON object, so it has no field key"],
    ['"v4lue"', "it is not a JSON object, so it has no field key"],
  ])("needs the field, and the error does not show the value: %s", async (SecretString, mistake) => {
    const { read } = await served({ SecretString });
    const error = await read({ id: "shop", field: "key" }).catch((thrown: Error) => thrown);

    expect(error).toBeInstanceOf(SecretError);
    expect(`${error}`).toBe(`SecretError: the secret shop cannot be read: ${mistake}`);
  });

  it("has no fields that every object has", async () => {
    const { read } = await served({ SecretString: '{"a":"b"}' });

    await expect(read({ id: "shop", field: "toString" })).rejects.toThrow("it has no field toString");
  });

  it.each<readonly [Answer, string]>([
    [
      refusal("ResourceNotFoundException", "no such secret"),
      "there is no such secret in this account and region (ResourceNotFoundException, HTTP 400: no such secret)",
    ],
    [
      refusal("com.amazonaws#AccessDeniedException", "not authorized"),
      "the role needs secretsmanager:GetSecretValue on it, and kms:Decrypt if it has a key of its own (AccessDeniedException, HTTP 400: not authorized)",
    ],
    [
      refusal("UnrecognizedClientException", "bad token"),
      "AWS does not know these credentials: check AWS_ACCESS_KEY_ID, or the profile or role of this machine (UnrecognizedClientException",
    ],
    [{ status: 503, body: "<html>" }, "Secrets Manager refuses the call (Error, HTTP 503: no reason given)"],
    [{ status: 200, body: '{"SecretBinary":"AAA="}' }, "it is binary, or the answer is not one of Secrets Manager"],
    [{ status: 200, body: "<html>" }, "it is binary, or the answer is not one of Secrets Manager"],
  ])("that cannot be read is named with the reason: %o", async (answer, reason) => {
    const { read } = await answering(answer);

    await expect(read({ id: "shop/staging" })).rejects.toThrow(`the secret shop/staging cannot be read: ${reason}`);
  });

  it("is given up if there is no answer", async () => {
    const server = await ShadowServer.start(() => "hang");
    const place = { region: "eu-central-1", endpoint: server.url.origin };
    await expect(readSecret({ id: "shop" }, place, 50)).rejects.toThrow(
      `no answer from ${server.url.host} within 0.05 s`,
    );

    await server.close();
    await expect(readSecret({ id: "shop" }, place)).rejects.toThrow("ECONNREFUSED");
  });
});

function refusal(type: string, message: string): Answer {
  return { status: 400, body: JSON.stringify({ __type: type, message }) };
}

function served(answer: object) {
  return answering({ status: 200, body: JSON.stringify({ Name: "shop", VersionId: "1", ...answer }) });
}

async function answering(answer: Answer) {
  const server = await ShadowServer.start(() => answer);
  const place = { region: "eu-central-1", endpoint: server.url.origin };
  return { server, read: (secret: Parameters<typeof readSecret>[0]) => readSecret(secret, place) };
}
