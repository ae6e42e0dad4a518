import type { AwsCall } from "./aws-gateway.ts";
import type { CloudResource, CloudTemplate } from "./cloud-template.ts";

interface Statement {
  readonly Effect: "Allow" | "Deny";
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

type Asked = Pick<AwsCall, "action" | "resources" | "context">;

/** What a policy allows, as far as the policies of this project go: allowing statements, with conditions that compare texts. */
export class IamPolicy {
  readonly #statements: readonly Statement[];

  /** Of a role with the policies in it. */
  static ofRole(template: CloudTemplate, roleArn: string): IamPolicy {
    const name = roleArn.split("/").at(-1);
    const role = template.ofType("AWS::IAM::Role").find(({ properties }) => properties.RoleName === name);
    const inline = (role?.properties.Policies ?? []).map(
      (policy: { PolicyDocument: unknown }) => policy.PolicyDocument,
    );
    const attached = template
      .ofType("AWS::IAM::Policy")
      .filter(({ properties }) => properties.Roles?.includes(name))
      .map(({ properties }) => properties.PolicyDocument);
    return new IamPolicy([...inline, ...attached].flatMap(({ Statement: statements }) => statements));
  }

  static ofManaged({ properties }: CloudResource): IamPolicy {
    return new IamPolicy(properties.PolicyDocument.Statement);
  }

  private constructor(statements: readonly Statement[]) {
    const denying = statements.find(({ Effect }) => Effect !== "Allow");
    if (denying) throw new Error(`nobody reads denying statements here: ${JSON.stringify(denying)}`);
    this.#statements = statements;
  }

  allows({ action, resources, context }: Asked): boolean {
    return resources.every((resource) =>
      this.#statements.some(
        (statement) =>
          matches(statement.Action, action) &&
          matches(statement.Resource, resource) &&
          Object.values(statement.Condition ?? {}).every((tests) =>
            Object.entries(tests).every(([key, patterns]) =>
              [context[key] ?? ""].flat().every((value) => matches(patterns, value)),
            ),
          ),
      ),
    );
  }
}

function matches(patterns: string | readonly string[], text: string): boolean {
  return [patterns].flat().some((pattern) => {
    const parts = pattern.split("*").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp(`^${parts.join(".*")}$`).test(text);
  });
}
