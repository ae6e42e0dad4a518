import { Stack } from "aws-cdk-lib";
import { AttributeType, BillingMode, Table, TableEncryption } from "aws-cdk-lib/aws-dynamodb";
import { PolicyDocument } from "aws-cdk-lib/aws-iam";
import { Construct } from "constructs";
import { ConfigError } from "../../relay/config/text.ts";
import { stateTable } from "../../relay/state/dynamodb/table-shape.ts";
import type { TableLayout } from "../layout.ts";
import { removalPolicyOf, type StackContext } from "./relay-context.ts";
import { foreignStatements } from "./statement.ts";

// DynamoDB: the most that a policy of a table may have.
const maxPolicyBytes = 20_480;

/** The table with rates, settings, figures, jobs and the ledger. */
export class StateTable extends Construct {
  readonly table: Table;

  /** Throws `ConfigError` if functions of so many other accounts use the table that its policy becomes too large. */
  constructor(scope: Construct, layout: TableLayout, context: StackContext) {
    super(scope, "State");
    const { config, key } = context;
    const resourcePolicy = new PolicyDocument({ statements: [...foreignStatements(layout, context.layout)] });
    assertFits(JSON.stringify(Stack.of(this).resolve(resourcePolicy) ?? ""), config.file);
    this.table = new Table(this, "Table", {
      tableName: layout.name,
      partitionKey: { name: stateTable.partitionKey, type: AttributeType.STRING },
      sortKey: { name: stateTable.sortKey, type: AttributeType.STRING },
      timeToLiveAttribute: stateTable.timeToLive,
      billingMode: BillingMode.PAY_PER_REQUEST,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: config.deployment.keepData,
      removalPolicy: removalPolicyOf(config),
      ...(key && { encryption: TableEncryption.CUSTOMER_MANAGED, encryptionKey: key }),
      ...(!resourcePolicy.isEmpty && { resourcePolicy }),
    });
  }
}

function assertFits(policy: string, file: string): void {
  const bytes = Buffer.byteLength(policy);
  if (bytes <= maxPolicyBytes) return;
  throw new ConfigError([
    `${file}: targets: too many are in other accounts than the table: its policy would have ${bytes} bytes, and DynamoDB allows ${maxPolicyBytes}: deploy some of them with a queue and a table of their own`,
  ]);
}
