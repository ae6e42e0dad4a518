import { PolicyStatement } from "aws-cdk-lib/aws-iam";
import { type IKey, Key } from "aws-cdk-lib/aws-kms";
import { Construct } from "constructs";
import { ConfigError } from "../../relay/config/text.ts";
import type { FunctionLayout } from "../function-layout.ts";
import { keyUsesOf, sendingUse } from "../key-uses.ts";
import type { Layout, StackLayout } from "../layout.ts";
import type { Permission } from "../permission.ts";
import { isSamePlace, type Place, toArn } from "../place.ts";
import { type RelayContext, removalPolicyOf, type StackContext } from "./relay-context.ts";
import { toForeignStatement, toGrant } from "./statement.ts";

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
    for (const one of all.filter(({ account }) => account !== stack.account)) {
      for (const { actions } of keyUsesOf(one, layout).filter((use) => use.stack === stack)) {
        own.addToResourcePolicy(toForeignStatement(one, { actions, resources: ["*"] }));
      }
    }
    if (agents.length > 0 && stack === layout.stacks[0]) {
      own.addToResourcePolicy(toGrant(agents, { actions: sendingUse, resources: ["*"] }));
    }
    this.key = own;
  }

  /** The permission that an agent needs to send to an encrypted queue. */
  get sending(): PolicyStatement {
    return new PolicyStatement({ actions: [...sendingUse], resources: [this.key.keyArn] });
  }
}

/** The permissions to use the keys of all stacks whose queues, tables or buckets a function uses. */
export function keyPermissions(
  one: FunctionLayout,
  { config, layout, stack, key }: StackContext,
): readonly Permission[] {
  if (!key) return [];
  const { key: given } = config.deployment;
  return keyUsesOf(one, layout).map(({ stack: used, actions }) => {
    if (given !== "own") return { actions, resources: [toKeyArn(`${given}`, used, config.file)] };
    if (isSamePlace(used, stack)) return { actions, resources: [key.keyArn] };
    return {
      actions,
      resources: [toArn(used, "kms", "key/*")],
      conditions: { "ForAnyValue:StringEquals": { "kms:ResourceAliases": aliasOf(layout) } },
      wildcard: "KMS generates the id of another stack's key; the condition names its alias",
    };
  });
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
