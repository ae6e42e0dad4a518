import type { Template } from "aws-cdk-lib/assertions";
import { describe, expect, it } from "vitest";
import { functionMetrics, metricNamespace } from "../../../relay/deployed/metrics.ts";
import { synthesise, templatesOf } from "../../support/aws/synthesis.ts";
import { type ExampleName, exampleLayout } from "../../support/data/layouts.ts";
import { configFile } from "../../support/lambda/lambda-config.ts";

describe("the dashboard of a deployment", () => {
  it("shows every metric that functions write, in the region of the function, and no others", () => {
    const shown = widgetsOf("two-regions")
      .flatMap(({ metrics = [] }) => metrics)
      .filter(([namespace]) => namespace === metricNamespace("shop"))
      .map(([, name, ...rest]) => {
        const { region = "eu-central-1" } = rest.at(-1) as { readonly region?: string };
        const [dimension, value] = rest.length > 2 ? rest : [];
        return [name, ...(dimension === undefined ? [] : [`${dimension} ${value}`]), region].join(", ");
      });

    const expected = Object.values(functionMetrics).flatMap(({ name, by, from }) => {
      if (by === "relay") return [`${name}, eu-central-1`];
      const virginia = from === "replay" ? "us-east-1" : "eu-central-1";
      return [`${name}, Target staging, eu-central-1`, `${name}, Target virginia, ${virginia}`];
    });
    expect([...new Set(shown)].sort()).toEqual(expected.sort());
  });

  it("shows every alarm of the account, in all regions", () => {
    const names = Object.values(templatesOf("two-regions")).flatMap((template) =>
      Object.values(template.findResources("AWS::CloudWatch::Alarm")).map(({ Properties }) => Properties.AlarmName),
    );

    const alarms = widgetsOf("two-regions").flatMap((widget) => widget.alarms ?? []);

    expect(alarms.map((arn) => arn.split(":").at(-1)).sort()).toEqual(names.sort());
    expect(alarms.filter((arn) => arn.startsWith("arn:aws:cloudwatch:us-east-1:111122223333:alarm:"))).not.toEqual([]);
  });

  it("shows at most 100 alarms in a widget", () => {
    const targets = Array.from({ length: 20 }, (_, i) => `  t${i}: { url: https://a, rate: 1/s }`);
    const { templates } = synthesise(
      configFile(
        "queue: https://sqs.eu-central-1.amazonaws.com/111122223333/shop",
        "state: dynamodb:shop",
        "targets:",
        ...targets,
      ),
    );

    const shown = widgetsIn(templates.shop).flatMap(({ alarms }) => (alarms ? [alarms.length] : []));
    expect(shown).toEqual([100, 55]);
  });

  it("exists once in each account", () => {
    const [first, second] = exampleLayout("two-accounts").stacks.map(({ name }) => name);
    const templates = templatesOf("two-accounts");

    templates[first].resourceCountIs("AWS::CloudWatch::Dashboard", 1);
    templates[second].resourceCountIs("AWS::CloudWatch::Dashboard", 1);
    templatesOf("two-regions")["shop-us-east-1"].resourceCountIs("AWS::CloudWatch::Dashboard", 0);
  });
});

interface Widget {
  readonly alarms?: readonly string[];
  readonly metrics?: readonly (readonly unknown[])[];
}

/** The properties of the first stack's widgets. */
function widgetsOf(example: ExampleName): readonly Widget[] {
  return widgetsIn(templatesOf(example).shop);
}

function widgetsIn(template: Template): readonly Widget[] {
  const [{ Properties: properties }] = Object.values(template.findResources("AWS::CloudWatch::Dashboard"));
  const { DashboardBody: body } = properties;
  const text =
    typeof body === "string"
      ? body
      : body["Fn::Join"][1].map((part: unknown) => (typeof part === "string" ? part : "eu-central-1")).join("");
  return JSON.parse(text).widgets.map(({ properties: shown }: { readonly properties: Widget }) => shown);
}
