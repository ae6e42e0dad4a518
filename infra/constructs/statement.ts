import { ArnPrincipal, PolicyStatement } from "aws-cdk-lib/aws-iam";
import type { FunctionLayout } from "../function-layout.ts";
import type { Layout } from "../layout.ts";
import type { Permission } from "../permission.ts";
import { foreignUses } from "../permissions.ts";
import { partitionOf } from "../place.ts";

export function toStatement({ actions, resources, conditions }: Permission): PolicyStatement {
  return new PolicyStatement({
    actions: [...actions],
    resources: [...resources],
    ...(conditions && { conditions }),
  });
}

/**
 * Allows a role of another account to use a resource. The principal is the account, and the role is a condition: AWS refuses a
 * policy whose principal does not exist yet, and the stacks may be deployed in any order.
 */
export function toForeignStatement({ account, region, role }: FunctionLayout, permission: Permission): PolicyStatement {
  const { actions, resources, conditions } = permission;
  return new PolicyStatement({
    principals: [new ArnPrincipal(`arn:${partitionOf(region)}:iam::${account}:root`)],
    actions: [...actions],
    resources: [...resources],
    conditions: { ...conditions, ArnEquals: { "aws:PrincipalArn": role.arn } },
  });
}

/** The statements that allow functions of other accounts to use a resource. */
export function foreignStatements(
  resource: { readonly arn: string; readonly account: string },
  layout: Layout,
): readonly PolicyStatement[] {
  return foreignUses(resource, layout).map(({ user, permission }) => toForeignStatement(user, permission));
}

/** Allows existing principals these actions. */
export function toGrant(principalArns: readonly string[], { actions, resources }: Permission): PolicyStatement {
  return new PolicyStatement({
    principals: principalArns.map((arn) => new ArnPrincipal(arn)),
    actions: [...actions],
    resources: [...resources],
  });
}
