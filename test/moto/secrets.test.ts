import { expect, inject, it } from "vitest";
import { readSecret } from "../../relay/aws/secrets-manager.ts";
import { signRequest } from "../../relay/aws/signature.ts";

const region = "us-east-1";
const endpoint = inject("motoUrl");
const place = { region, endpoint };

it("a secret is read from Secrets Manager by its name or its ARN, whole or by a field, and again after a change", async () => {
  const { ARN: id } = await call("CreateSecret", {
    Name: "shop/staging",
    SecretString: '{"key":"first","user":"relay"}',
  });

  expect(await readSecret({ id: "shop/staging", field: "key" }, place)).toBe("first");
  expect(await readSecret({ id, field: "user" }, place)).toBe("relay");
  expect(await readSecret({ id }, place)).toBe('{"key":"first","user":"relay"}');
  await call("PutSecretValue", { SecretId: id, SecretString: '{"key":"second"}' });
  expect(await readSecret({ id: "shop/staging", field: "key" }, place)).toBe("second");
  await expect(readSecret({ id: "shop/other" }, place)).rejects.toThrow(
    "the secret shop/other cannot be read: there is no such secret in this account and region (ResourceNotFoundException, ",
  );
});

async function call(operation: string, input: object): Promise<{ readonly ARN: string }> {
  const url = new URL("/", endpoint);
  const body = JSON.stringify(input);
  const headers = { "content-type": "application/x-amz-json-1.1", "x-amz-target": `secretsmanager.${operation}` };
  const signed = await signRequest({ method: "POST", url, headers, body }, region, "secretsmanager");
  const answer = await fetch(url, { method: "POST", headers: signed, body });
  expect(answer.status).toBe(200);
  return (await answer.json()) as { readonly ARN: string };
}
