import type { AwsCall } from "./aws-gateway.ts";
import type { CloudResource, CloudTemplate } from "./cloud-template.ts";

interface Statement {
  readonly Effect: "Allow" | "Deny";
  /** Only in resource policies. */
  readonly Principal?: { readonly AWS: string | readonly string[] };
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

type Asked = Pick<AwsCall, "action" | "resources" | "context">;

/** The condition key with the ARN of the caller. */
export const principalKey = "aws:PrincipalArn";

/** Evaluates the kinds of policies that this project makes: Allow statements with conditions that compare strings. */
export class IamPolicy {
  readonly #statements: readonly Statement[];

  /** The inline and attached policies of a role. */
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

  /** The resource policies of all queues, tables and buckets of a template. */
  static ofResources(template: CloudTemplate): IamPolicy {
    const attached = [...template.ofType("AWS::SQS::QueuePolicy"), ...template.ofType("AWS::S3::BucketPolicy")];
    const own = template.ofType("AWS::DynamoDB::Table").flatMap(({ properties }) => properties.ResourcePolicy ?? []);
    const documents = [...attached.map(({ properties }) => properties), ...own];
    return new IamPolicy(documents.flatMap(({ PolicyDocument }) => PolicyDocument.Statement));
  }

  private constructor(all: readonly Statement[]) {
    // Statements that deny calls without TLS are ignored: all calls here use TLS.
    const statements = all.filter(
      ({ Effect, Condition }) => Effect !== "Deny" || Condition?.Bool?.["aws:SecureTransport"] !== "false",
    );
    const denying = statements.find(({ Effect }) => Effect !== "Allow");
    if (denying) throw new Error(`IamPolicy does not support Deny: ${JSON.stringify(denying)}`);
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

/** The root of an account means all of its principals. */
function isMeant({ Principal }: Statement, principalArn: string): boolean {
  if (!Principal) return true;
  const account = principalArn.split(":")[4];
  return [Principal.AWS].flat().some((arn) => arn === principalArn || arn === `arn:aws:iam::${account}:root`);
}

function matches(patterns: string | readonly string[], text: string): boolean {
  return [patterns].flat().some((pattern) => {
    const parts = pattern.split("*").map((part) => part.replaceAll(/[.*+^${}()|[\]\\]/g, "\\$&").replaceAll("?", "."));
    return new RegExp(`^${parts.join(".*")}$`).test(text);
  });
}
