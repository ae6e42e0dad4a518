import { CreateBucketCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";

/** A template of CloudFormation, as far as moto has to be helped with it. */
export interface Template {
  Outputs?: unknown;
  readonly Resources: Readonly<
    Record<string, { readonly Type: string; readonly Properties?: Record<string, unknown> }>
  >;
}

/** The account of everything on moto. */
export const motoAccount = "123456789012";

// The smallest archive: moto does not run functions.
const emptyZip = Buffer.concat([Buffer.from("PK\x05\x06"), Buffer.alloc(18)]);

/** CloudFormation on moto. It has no client here: its answers are XML of which only a few elements are read. */
export class MotoStacks {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  /** Deletes everything in moto. */
  async reset(): Promise<void> {
    await fetch(`${this.#url}/moto-api/reset`, { method: "POST" });
  }

  /** Does in a region what `cdk bootstrap` and `cdk deploy` do before they create a stack: its parameter, code and secrets. */
  async prepare(region: string, template: Template, secrets: Readonly<Record<string, string>> = {}): Promise<void> {
    const parameter = { Name: "/cdk-bootstrap/hnb659fds/version", Value: "30", Type: "String", Overwrite: true };
    await this.#call("ssm", region, "AmazonSSM.PutParameter", parameter);
    for (const [Name, SecretString] of Object.entries(secrets)) {
      await this.#call("secretsmanager", region, "secretsmanager.CreateSecret", { Name, SecretString });
    }
    const s3 = new S3Client({ endpoint: this.#url, region: "us-east-1", forcePathStyle: true });
    for (const { Properties = {} } of Object.values(template.Resources)) {
      const { S3Bucket: Bucket, S3Key: Key } = (Properties.Code ?? {}) as { S3Bucket?: string; S3Key?: string };
      if (Bucket === undefined) continue;
      await s3.send(new CreateBucketCommand({ Bucket }));
      await s3.send(new PutObjectCommand({ Bucket, Key, Body: emptyZip }));
    }
    s3.destroy();
  }

  /** The resources that a new stack has, by their ids in the template. Throws if it cannot be created. */
  async create(region: string, name: string, template: Template): Promise<ReadonlySet<string>> {
    const capabilities = { "Capabilities.member.1": "CAPABILITY_NAMED_IAM" };
    await this.#ask(region, {
      Action: "CreateStack",
      StackName: name,
      TemplateBody: JSON.stringify(template),
      ...capabilities,
    });
    const state = await this.#ask(region, { Action: "DescribeStacks", StackName: name });
    if (!state.includes("<StackStatus>CREATE_COMPLETE<")) throw new Error(`${name} was not created: ${state}`);
    const resources = await this.#ask(region, { Action: "DescribeStackResources", StackName: name });
    return new Set(Array.from(resources.matchAll(/<LogicalResourceId>([^<]+)</g), ([, id]) => id));
  }

  /** The queues that a function reads. Not through the SDK: moto only knows this path with a slash at its end. */
  async mappingsOf(region: string, functionName: string): Promise<readonly { readonly EventSourceArn: string }[]> {
    const path = `/2015-03-31/event-source-mappings/?FunctionName=${functionName}`;
    const answer = await fetch(`${this.#url}${path}`, { headers: { authorization: signature("lambda", region) } });
    return ((await answer.json()) as { EventSourceMappings: { EventSourceArn: string }[] }).EventSourceMappings;
  }

  async #ask(region: string, parameters: Record<string, string>): Promise<string> {
    const body = new URLSearchParams({ Version: "2010-05-15", ...parameters });
    return this.#post("cloudformation", region, {}, body);
  }

  async #call(service: string, region: string, target: string, parameters: object): Promise<void> {
    const headers = { "content-type": "application/x-amz-json-1.1", "x-amz-target": target };
    await this.#post(service, region, headers, JSON.stringify(parameters));
  }

  async #post(
    service: string,
    region: string,
    headers: Record<string, string>,
    body: string | URLSearchParams,
  ): Promise<string> {
    const authorization = signature(service, region);
    const answer = await fetch(this.#url, { method: "POST", headers: { ...headers, authorization }, body });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`moto answered ${answer.status} to a call of ${service}: ${text}`);
    return text;
  }
}

/** moto reads the service and the region, and checks nothing. */
function signature(service: string, region: string): string {
  return `AWS4-HMAC-SHA256 Credential=test/20260101/${region}/${service}/aws4_request, SignedHeaders=host, Signature=0`;
}
