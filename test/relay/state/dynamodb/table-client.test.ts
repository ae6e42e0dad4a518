import { expect, it, vi } from "vitest";
import { TableClient } from "../../../../relay/state/dynamodb/table-client.ts";
import { DynamoDbProxy } from "../../../support/aws/dynamodb-proxy.ts";

const arn = "arn:aws:dynamodb:eu-central-1:111122223333:table/shop";

it.each([
  ["its ARN", arn],
  ["its name", "shop"],
])("reads items of a table that is called by its ARN and answers with %s", async (_, name) => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
  const proxy = await DynamoDbProxy.start();
  // The first answer has only one of the two items.
  proxy.decide =
    ({ body }) =>
    (response) => {
      const [asked] = Object.values<{ readonly Keys: readonly unknown[] }>(body.RequestItems);
      const left = asked.Keys.slice(1);
      const answer = {
        Responses: { [name]: asked.Keys.slice(0, 1) },
        UnprocessedKeys: left.length > 0 ? { [name]: { Keys: left } } : {},
      };
      response.setHeader("content-type", "application/x-amz-json-1.0").end(JSON.stringify(answer));
    };
  const client = new TableClient({
    table: arn,
    region: "eu-central-1",
    endpoint: proxy.endpoint,
    callTimeoutMs: 5_000,
  });

  const keys = ["a", "b"].map((pk) => ({ pk, sk: "1" }));
  const items = await client.getAll(keys);

  expect(items).toEqual(["a", "b"].map((pk) => ({ pk: { S: pk }, sk: { S: "1" } })));
  client.close();
});
