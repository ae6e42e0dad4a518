import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { StackLayout } from "../../../infra/layout.ts";

// biome-ignore lint/suspicious/noExplicitAny: any JSON of CloudFormation.
export type Properties = any;

export interface CloudResource {
  readonly id: string;
  readonly type: string;
  readonly properties: Properties;
}

/** A synthesised template whose intrinsic functions are resolved as CloudFormation would. */
export class CloudTemplate {
  readonly stack: StackLayout;
  readonly resources: readonly CloudResource[];
  readonly #directory: string;
  readonly #raw: Readonly<Record<string, { readonly Type: string; readonly Properties?: Properties }>>;

  /** @param directory the output of `cdk synth` */
  constructor(directory: string, stack: StackLayout) {
    this.stack = stack;
    this.#directory = directory;
    this.#raw = JSON.parse(readFileSync(join(directory, `${stack.name}.template.json`), "utf8")).Resources;
    this.resources = Object.entries(this.#raw).map(([id, { Type: type, Properties: raw = {} }]) => ({
      id,
      type,
      properties: this.#resolve(raw),
    }));
  }

  ofType(type: string): readonly CloudResource[] {
    return this.resources.filter((resource) => resource.type === type);
  }

  /** True if all ARNs are of queues, tables or buckets of this stack, or of objects in its buckets. */
  holds(arns: readonly string[]): boolean {
    const { queues, buckets, table } = this.stack;
    const own = [...queues.flatMap((queue) => [queue, queue.deadLetters]), ...buckets, ...(table ? [table] : [])];
    return arns.every((arn) => own.some((one) => arn === one.arn || arn.startsWith(`${one.arn}/`)));
  }

  /** The directory with a function's code, before it is zipped. */
  codeOf({ properties }: CloudResource): string {
    const manifest = JSON.parse(readFileSync(join(this.#directory, `${this.stack.name}.assets.json`), "utf8"));
    const asset = manifest.files[properties.Code.S3Key.replace(/\.zip$/, "")];
    return join(this.#directory, asset.source.path);
  }

  #resolve(value: Properties): Properties {
    if (Array.isArray(value)) return value.map((item) => this.#resolve(item));
    if (typeof value !== "object" || value === null) return value;
    const [[name, of] = ["", undefined], ...more] = Object.entries<Properties>(value);
    if (more.length > 0) return this.#resolveAll(value);
    switch (name) {
      case "Ref":
        return this.#attribute(of, "Ref");
      case "Fn::GetAtt":
        return this.#attribute(of[0], of[1]);
      case "Fn::Join":
        return this.#resolve(of[1]).join(of[0]);
      case "Fn::Sub":
        return of.replaceAll(/\$\{([^}]+)\}/g, (_: string, id: string) => this.#attribute(id, "Ref"));
      default:
        if (name.startsWith("Fn::"))
          throw new Error(`${this.stack.name} uses ${name}, which CloudTemplate cannot resolve`);
        return this.#resolveAll(value);
    }
  }

  #resolveAll(value: Properties): Properties {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.#resolve(item)]));
  }

  #attribute(id: string, attribute: string): string {
    const { account, region } = this.stack;
    const pseudo: Readonly<Record<string, string>> = {
      "AWS::AccountId": account,
      "AWS::Region": region,
      "AWS::Partition": "aws",
      "AWS::URLSuffix": "amazonaws.com",
      "AWS::StackName": this.stack.name,
    };
    if (id in pseudo) return pseudo[id];
    const { Type = "", Properties: raw = {} } = this.#raw[id] ?? {};
    const toArn = (service: string, resource: string, place = `${region}:${account}`) =>
      `arn:aws:${service}:${place}:${resource}`;
    switch (Type) {
      case "AWS::SQS::Queue":
        if (attribute === "Ref") return `https://sqs.${region}.amazonaws.com/${account}/${raw.QueueName}`;
        return attribute === "Arn" ? toArn("sqs", raw.QueueName) : raw.QueueName;
      case "AWS::DynamoDB::Table":
        return attribute === "Arn" ? toArn("dynamodb", `table/${raw.TableName}`) : raw.TableName;
      case "AWS::S3::Bucket":
        return attribute === "Arn" ? toArn("s3", raw.BucketName, ":") : raw.BucketName;
      case "AWS::Lambda::Function":
        return attribute === "Arn" ? toArn("lambda", `function:${raw.FunctionName}`) : raw.FunctionName;
      case "AWS::IAM::Role":
        return attribute === "Arn" ? toArn("iam", `role/${raw.RoleName}`, `:${account}`) : raw.RoleName;
      default:
        return attribute === "Arn" ? toArn("cloudformation", id) : id;
    }
  }
}
