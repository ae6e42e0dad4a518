import { PolicyStatement } from "aws-cdk-lib/aws-iam";
import { type IKey, Key } from "aws-cdk-lib/aws-kms";
import { Construct } from "constructs";
import { ConfigError } from "../../relay/config/text.ts";
import type { FunctionLayout } from "../function-layout.ts";
import type { Layout, StackLayout } from "../layout.ts";
import { type Permission, placesUsedBy } from "../permissions.ts";
import { isSamePlace, type Place, toArn } from "../place.ts";
import { type RelayContext, removalPolicyOf, type StackContext } from "./relay-context.ts";
import { toForeignStatement, toGrant } from "./statement.ts";

/** SQS, S3 and DynamoDB do this with the key in the name of the role that reads and writes. */
const useKey = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"] as const;
const sendOnly = ["kms:Decrypt", "kms:GenerateDataKey"] as const;

/** The key of a stack: a new key, or an existing one that `aws.key` names. */
export class RelayKey extends Construct {
  readonly key: IKey;

  /** Undefined if AWS managed keys are used. Throws `ConfigError` if the named key does not exist in the stack's region. */
  static in(scope: Construct, stack: StackLayout, context: RelayContext): RelayKey | undefined {
    return context.config.deployment.key === undefined ? undefined : new RelayKey(scope, stack, context);
  }

  private constructor(scope: Construct, stack: StackLayout, { config, layout }: RelayContext) {
    super(scope, "Key");
    const { key, agents } = config.deployment;
    if (key !== "own") {
      this.key = Key.fromKeyArn(this, "Given", toKeyArn(`${key}`, stack, config.file));
      return;
    }
    const own = new Key(this, "Own", {
      alias: aliasOf(layout),
      description: `Packs, captures and state of ${layout.name}`,
      enableKeyRotation: true,
      removalPolicy: removalPolicyOf(config),
    });
    const all = layout.stacks.flatMap(({ functions }) => functions);
    const strangers = all.filter(
      (one) => one.account !== stack.account && placesUsedBy(one, layout).some((place) => isSamePlace(place, stack)),
    );
    for (const one of strangers)
      own.addToResourcePolicy(toForeignStatement(one, { actions: useKey, resources: ["*"] }));
    if (agents.length > 0 && stack === layout.stacks[0]) {
      own.addToResourcePolicy(toGrant(agents, { actions: sendOnly, resources: ["*"] }));
    }
    this.key = own;
  }

  /** The permission that an agent needs to send to an encrypted queue. */
  get sending(): PolicyStatement {
    return new PolicyStatement({ actions: [...sendOnly], resources: [this.key.keyArn] });
  }
}

/** The permissions to use the keys of all stacks whose queues, tables or buckets a function uses. */
export function keyPermissions(
  one: FunctionLayout,
  { config, layout, stack, key }: StackContext,
): readonly Permission[] {
  if (!key) return [];
  const places = placesUsedBy(one, layout);
  if (config.deployment.key !== "own") {
    const arns = places.map((place) => toKeyArn(`${config.deployment.key}`, place, config.file));
    return [{ actions: useKey, resources: [...new Set(arns)] }];
  }
  const elsewhere = places.filter((place) => !isSamePlace(place, stack));
  const here = elsewhere.length < places.length ? [{ actions: useKey, resources: [key.keyArn] }] : [];
  if (elsewhere.length === 0) return here;
  return [
    ...here,
    {
      actions: useKey,
      resources: elsewhere.map((place) => toArn(place, "kms", "key/*")),
      conditions: { "ForAnyValue:StringEquals": { "kms:ResourceAliases": aliasOf(layout) } },
      wildcard: "KMS generates the id of another stack's key; the condition names its alias",
    },
  ];
}

function aliasOf({ name }: Layout): string {
  return `alias/${name}`;
}

function toKeyArn(given: string, { region }: Place, file: string): string {
  const parts = given.split(":");
  const [, , , keyRegion, , resource] = parts;
  if (keyRegion === region) return given;
  if (resource.startsWith("key/mrk-")) return parts.with(3, region).join(":");
  throw new ConfigError([
    `${file}: aws.key: this key is in ${keyRegion} and cannot be used in ${region}: write own, or name a multi-Region key (mrk-…)`,
  ]);
}
