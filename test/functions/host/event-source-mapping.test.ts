import { describe, expect, it, onTestFinished } from "vitest";
import { EventSourceMappings } from "../../../functions/host/event-source-mapping.ts";
import { LambdaApi, replayArn } from "../../support/lambda/lambda-api.ts";

describe("EventSourceMappings", () => {
  it("finds the mapping of a function, and switches it", async () => {
    const api = await LambdaApi.start({ a: "Enabled", b: "Enabled" });

    expect(await open().turn(replayArn("a"), false)).toBe(true);

    expect(api.turned).toEqual(["turn off a"]);
  });

  it("leaves a mapping alone that is already as wanted", async () => {
    const api = await LambdaApi.start({ a: "Disabled" });

    expect(await open().turn(replayArn("a"), false)).toBe(false);

    expect(api.turned).toEqual([]);
  });

  it("calls Lambda in the region of each function", async () => {
    const api = await LambdaApi.start({ a: "Enabled", b: "Enabled" });
    const mappings = open();

    await mappings.turn(replayArn("a", "eu-central-1"), false);
    await mappings.turn(replayArn("b", "ap-south-2"), false);

    expect([...api.regions]).toEqual(["eu-central-1", "ap-south-2"]);
  });

  it("names the function that has no mapping", async () => {
    await LambdaApi.start({ a: "" });

    await expect(open().turn(replayArn("a"), true)).rejects.toThrow(`${replayArn("a")} has no event source mapping`);
    await expect(open().turn(replayArn("c"), true)).rejects.toThrow("no function for c");
  });
});

function open(): EventSourceMappings {
  const mappings = new EventSourceMappings();
  onTestFinished(() => mappings.close());
  return mappings;
}
