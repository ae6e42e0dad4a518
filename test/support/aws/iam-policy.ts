import type { AwsCall } from "./aws-gateway.ts";
import type { CloudResource, CloudTemplate } from "./cloud-template.ts";

interface Statement {
  readonly Effect: "Allow" | "Deny";
  /** In policies of resources. */
  readonly Principal?: { readonly AWS: string | readonly string[] };
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

type Asked = Pick<AwsCall, "action" | "resources" | "context">;

/** The key under which a context has the ARN of who asks. */
export const principalKey = "aws:PrincipalArn";

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

  /** All policies of a template's queues, tables and buckets together. */
  static ofResources(template: CloudTemplate): IamPolicy {
    const attached = [...template.ofType("AWS::SQS::QueuePolicy"), ...template.ofType("AWS::S3::BucketPolicy")];
    const own = template.ofType("AWS::DynamoDB::Table").flatMap(({ properties }) => properties.ResourcePolicy ?? []);
    const documents = [...attached.map(({ properties }) => properties), ...own];
    return new IamPolicy(documents.flatMap(({ PolicyDocument }) => PolicyDocument.Statement));
  }

  private constructor(all: readonly Statement[]) {
    // Here everybody comes with TLS.
    const statements = all.filter(
      ({ Effect, Condition }) => Effect !== "Deny" || Condition?.Bool?.["aws:SecureTransport"] !== "false",
    );
    const denying = statements.find(({ Effect }) => Effect !== "Allow");
    if (denying) throw new Error(`nobody reads denying statements here: ${JSON.stringify(denying)}`);
    this.#statements = statements;
  }

  allows({ action, resources, context }: Asked): boolean {
    return resources.every((resource) =>
      this.#statements.some(
        (statement) =>
          matches(statement.Action, action) &&
          isMeant(statement, `${context[principalKey]}`) &&
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

/** An account stands for all of its principals. */
function isMeant({ Principal }: Statement, principalArn: string): boolean {
  if (!Principal) return true;
  const account = principalArn.split(":")[4];
  return [Principal.AWS].flat().some((arn) => arn === principalArn || arn === `arn:aws:iam::${account}:root`);
}

function matches(patterns: string | readonly string[], text: string): boolean {
  return [patterns].flat().some((pattern) => {
    const parts = pattern.split("*").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp(`^${parts.join(".*")}$`).test(text);
  });
}
