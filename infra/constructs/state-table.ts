import { AttributeType, BillingMode, Table, TableEncryption } from "aws-cdk-lib/aws-dynamodb";
import { PolicyDocument } from "aws-cdk-lib/aws-iam";
import { Construct } from "constructs";
import { stateTable } from "../../relay/state/dynamodb/table-shape.ts";
import type { TableLayout } from "../layout.ts";
import { removalPolicyOf, type StackContext } from "./relay-context.ts";
import { foreignStatements } from "./statement.ts";

/** The table with rates, settings, figures, jobs and the ledger. */
export class StateTable extends Construct {
  readonly table: Table;

  constructor(scope: Construct, layout: TableLayout, context: StackContext) {
    super(scope, "State");
    const { config, key } = context;
    const statements = [...foreignStatements(layout, context.layout)];
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
      ...(statements.length > 0 && { resourcePolicy: new PolicyDocument({ statements }) }),
    });
  }
}
