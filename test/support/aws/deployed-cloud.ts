import { type ChildProcess, spawn } from "node:child_process";
import { join, resolve } from "node:path";
import type { FauxqsServer } from "fauxqs";
import { onTestFinished } from "vitest";
import { type Layout, toLayout } from "../../../infra/layout.ts";
import type { Config } from "../../../relay/config/config.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import { fetchAdmin } from "../../../relay/control/admin-client.ts";
import { bundleFile, type FunctionName } from "../../../relay/deployed/functions.ts";
import type { OutgoingMessage } from "../../../relay/queue/port.ts";
import { SqsQueue } from "../../../relay/queue/sqs.ts";
import { TableClient } from "../../../relay/state/dynamodb/table-client.ts";
import { faketimeVariables } from "../clocks/faketime.ts";
import { until } from "../clocks/until.ts";
import { LambdaApi } from "../lambda/lambda-api.ts";
import { LambdaMapping } from "../lambda/lambda-mapping.ts";
import { LambdaProcess } from "../lambda/lambda-process.ts";
import { type CommandResult, run } from "../processes/command-line.ts";
import { type AwsCall, AwsGateway, type UrlAnswer } from "./aws-gateway.ts";
import { startRegion, startTables } from "./cloud-emulators.ts";
import { type CloudResource, CloudTemplate } from "./cloud-template.ts";
import { IamPolicy, principalKey } from "./iam-policy.ts";
import { synthesise } from "./synthesis.ts";

/** The principal of agents, with the managed policy for them. */
const agentPrincipal = "agent";
/** The principal of the command line, which is allowed everything. */
const operatorPrincipal = "operator";

const main = resolve(import.meta.dirname, "../../../relay/main.ts");
// The calls of an event source mapping, which uses the role of its function.
const pollingActions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

/**
 * A configuration, synthesised and run on emulators: SQS and S3 for each region of an account, one DynamoDB, and each function in
 * a process of its own with the code, environment, timeout and permissions of its template. Mappings deliver packs with the
 * batch size, window and visibility of the template.
 */
export class DeployedCloud {
  readonly config: Config;
  readonly layout: Layout;
  readonly gateway: AwsGateway;
  readonly lambdaApi: LambdaApi;
  /** The table of the emulator, without a check of permissions. */
  readonly table: { readonly table: string; readonly region: string; readonly endpoint: string };
  #control: Promise<LambdaProcess> | undefined;
  #lastAnswer: Promise<unknown> = Promise.resolve();
  readonly #templates: readonly CloudTemplate[];
  readonly #emulators: ReadonlyMap<CloudTemplate, FauxqsServer>;

  /**
   * Everything is stopped at the end of the test.
   * @param bundles the output directory of `bundleFunctions`
   */
  static async start(configFile: string, bundles: string): Promise<DeployedCloud> {
    const { directory } = synthesise(configFile, {}, bundles);
    const config = loadConfig(configFile, {});
    const layout = toLayout(config);
    const templates = layout.stacks.map((stack) => new CloudTemplate(directory, stack));

    const lambdaApi = await LambdaApi.start(Object.fromEntries(config.targets.map(({ name }) => [name, "Enabled"])));
    const emulators = new Map<CloudTemplate, FauxqsServer>();
    for (const template of templates) emulators.set(template, await startRegion(template));
    const withTable = templates.find(({ stack }) => stack.table) ?? templates[0];
    const tablePort = await startTables(withTable);
    const table = {
      table: withTable.stack.table?.name ?? "",
      region: withTable.stack.region,
      endpoint: `http://127.0.0.1:${tablePort}`,
    };
    const principals = new Map(templates.flatMap((template) => [...principalsOf(template)]));
    const gateway = await AwsGateway.start({
      regions: [...new Set(layout.stacks.map(({ region }) => region))],
      account: templates[0].stack.account,
      decide: (call) => {
        const owner = templates.find(
          (template) => template.stack.region === call.region && template.holds(call.resources),
        );
        if (!isAllowed(call, principals.get(call.principal), owner)) return { refused: describe(call) };
        if (call.signedFor !== call.region) return { refused: `${describe(call)}, signed for ${call.signedFor}` };
        if (call.service === "lambda") return { port: lambdaApi.port };
        const emulator = owner && emulators.get(owner);
        if (!owner || !emulator) return { refused: `${describe(call)}: it does not exist` };
        return { port: call.service === "dynamodb" ? tablePort : emulator.port };
      },
      functionUrl: (event) => cloud.#askControl(event),
    });
    const cloud: DeployedCloud = new DeployedCloud({ config, layout, gateway, lambdaApi, table, templates, emulators });
    return cloud;
  }

  private constructor(parts: {
    config: Config;
    layout: Layout;
    gateway: AwsGateway;
    lambdaApi: LambdaApi;
    table: DeployedCloud["table"];
    templates: readonly CloudTemplate[];
    emulators: ReadonlyMap<CloudTemplate, FauxqsServer>;
  }) {
    this.config = parts.config;
    this.layout = parts.layout;
    this.gateway = parts.gateway;
    this.lambdaApi = parts.lambdaApi;
    this.table = parts.table;
    this.#templates = parts.templates;
    this.#emulators = parts.emulators;
  }

  /** Starts a process of a function by its name in Lambda; it is killed at the end of the test. */
  async open(functionName: string): Promise<LambdaProcess> {
    const { template, resource } = this.#find(functionName);
    const { Handler, Environment } = resource.properties;
    const [kind] = Handler.split(".") as [FunctionName];
    const code = template.codeOf(resource);
    const lambda = await LambdaProcess.start(join(code, bundleFile(kind)), {
      ...this.gateway.env(functionName),
      // Lambda sets these itself.
      AWS_REGION: template.stack.region,
      LAMBDA_TASK_ROOT: code,
      ...Environment?.Variables,
    });
    onTestFinished(() => lambda.kill());
    return lambda;
  }

  /**
   * Starts the agent of the configuration; it is killed at the end of the test.
   * @param program flags of Node and the agent's bundle
   */
  async startAgent(...program: readonly string[]): Promise<ChildProcess> {
    const { file, agent } = this.config;
    const args = [...(program.length > 0 ? program : [main, "agent"]), "--config", file];
    const env = { PATH: process.env.PATH, ...faketimeVariables, ...this.gateway.env(agentPrincipal) };
    const child = spawn(process.execPath, args, { env, stdio: ["ignore", "ignore", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    await until(async () => (await fetchAdmin(agent.admin, "/stats")) !== undefined);
    return child;
  }

  /** Runs a command of the command line with the configuration. */
  command(...args: readonly string[]): Promise<CommandResult> {
    const env = { PATH: process.env.PATH, ...faketimeVariables, ...this.gateway.env(operatorPrincipal) };
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    return run("env", "-i", ...variables, process.execPath, main, ...args, "--config", this.config.file);
  }

  /** The timeout of a function. */
  timeoutMsOf(functionName: string): number {
    return this.#find(functionName).resource.properties.Timeout * 1_000;
  }

  /** Starts all event source mappings; returns them by the names of their functions. They stop at the end of the test. */
  map(): ReadonlyMap<string, LambdaMapping> {
    const mappings = this.#templates.flatMap((template) =>
      template.ofType("AWS::Lambda::EventSourceMapping").map((mapping) => this.#map(template, mapping)),
    );
    return new Map(mappings);
  }

  /** Puts a message into a queue without a check of permissions. */
  async put(queue: string, message: OutgoingMessage): Promise<void> {
    const opened = new SqsQueue({ url: this.#emulatorUrl(queue) });
    const [error] = await opened.send([message]);
    opened.close();
    if (error) throw error;
  }

  /** Deletes all items of a partition of the table. */
  async deleteItems(partition: string): Promise<void> {
    const client = new TableClient({ ...this.table, callTimeoutMs: 15_000 });
    for (const { sk } of await client.query(partition)) await client.delete({ pk: partition, sk: String(sk.S) });
    client.close();
  }

  /** True if the policy for agents allows the action on a queue in the account and region of the ingress queue. */
  agentMay(action: string, queue: string): boolean {
    const [template] = this.#templates;
    const { account, region } = template.stack;
    const resources = [`arn:aws:sqs:${region}:${account}:${queue}`];
    return principalsOf(template).get(agentPrincipal)?.policy.allows({ action, resources, context: {} }) === true;
  }

  /** The number of messages in a queue: ready, delayed and in flight. */
  depth(queue: string): number {
    const { ready = [], delayed = [], inflight = [] } = this.#emulatorOf(queue).inspectQueue(queue)?.messages ?? {};
    return ready.length + delayed.length + inflight.length;
  }

  #map(template: CloudTemplate, { properties }: CloudResource): readonly [string, LambdaMapping] {
    const { EventSourceArn, FunctionName, BatchSize, MaximumBatchingWindowInSeconds, FunctionResponseTypes } =
      properties;
    const role = principalsOf(template).get(FunctionName)?.policy;
    for (const action of pollingActions) {
      if (role?.allows({ action, resources: [EventSourceArn], context: {} })) continue;
      throw new Error(
        `${FunctionName} is not allowed to call ${action} on ${EventSourceArn}: Lambda would refuse its mapping`,
      );
    }
    if (FunctionResponseTypes?.[0] !== "ReportBatchItemFailures")
      throw new Error(`the mapping of ${FunctionName} lacks ReportBatchItemFailures`);
    const name = EventSourceArn.split(":").at(-1);
    const queue = template.ofType("AWS::SQS::Queue").find((one) => one.properties.QueueName === name);
    const mapping = new LambdaMapping({
      queueUrl: this.#emulatorUrl(name),
      start: () => this.open(FunctionName),
      batch: BatchSize,
      windowMs: MaximumBatchingWindowInSeconds * 1_000,
      timeoutMs: this.timeoutMsOf(FunctionName),
      visibilityMs: queue?.properties.VisibilityTimeout * 1_000,
    });
    onTestFinished(() => mapping.stop());
    return [FunctionName, mapping];
  }

  #emulatorUrl(queue: string): string {
    return `http://127.0.0.1:${this.#emulatorOf(queue).port}/000000000000/${queue}`;
  }

  #emulatorOf(queue: string): FauxqsServer {
    for (const emulator of this.#emulators.values()) if (emulator.inspectQueue(queue)) return emulator;
    throw new Error(`no template has a queue ${queue}`);
  }

  /** Invokes the function behind the function URL of the control API. */
  async #askControl(event: unknown): Promise<UrlAnswer> {
    const [name] = this.#templates.flatMap(({ stack }) =>
      stack.functions.flatMap((one) => (one.kind === "control" ? [one.name] : [])),
    );
    this.#control ??= this.open(name);
    const control = await this.#control;
    // As in Lambda, a process handles one event at a time.
    const answer = this.#lastAnswer.then(() => control.invoke(event, this.timeoutMsOf(name)));
    this.#lastAnswer = answer.catch(() => {});
    return (await answer) as UrlAnswer;
  }

  #find(functionName: string): { readonly template: CloudTemplate; readonly resource: CloudResource } {
    for (const template of this.#templates) {
      const functions = template.ofType("AWS::Lambda::Function");
      const resource = functions.find(({ properties }) => properties.FunctionName === functionName);
      if (resource) return { template, resource };
    }
    throw new Error(`no template has a function ${functionName}`);
  }
}

interface Principal {
  readonly arn: string;
  readonly policy: IamPolicy;
}

/** The policies of all functions, by name, and of the agents. */
function principalsOf(template: CloudTemplate): ReadonlyMap<string, Principal> {
  const { account } = template.stack;
  const functions = template
    .ofType("AWS::Lambda::Function")
    .map(({ properties: { FunctionName, Role } }): [string, Principal] => [
      FunctionName,
      { arn: Role, policy: IamPolicy.ofRole(template, Role) },
    ]);
  const agents = template
    .ofType("AWS::IAM::ManagedPolicy")
    .map((policy): [string, Principal] => [
      agentPrincipal,
      { arn: `arn:aws:iam::${account}:role/agent`, policy: IamPolicy.ofManaged(policy) },
    ]);
  return new Map([...functions, ...agents]);
}

/** For a resource of another account, the resource's policy must allow the call as well. */
function isAllowed(call: AwsCall, principal: Principal | undefined, owner: CloudTemplate | undefined): boolean {
  if (call.principal === operatorPrincipal) return true;
  if (!principal) return false;
  const asked = { ...call, context: { ...call.context, [principalKey]: principal.arn } };
  if (!principal.policy.allows(asked)) return false;
  if (!owner || owner.stack.account === principal.arn.split(":")[4]) return true;
  return IamPolicy.ofResources(owner).allows(asked);
}

function describe({ principal, action, resources }: AwsCall): string {
  return `${principal} may not ${action} ${resources.join(", ")}`;
}
