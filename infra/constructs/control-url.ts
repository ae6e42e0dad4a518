import { CfnOutput } from "aws-cdk-lib";
import { FunctionUrlAuthType, type IFunction } from "aws-cdk-lib/aws-lambda";
import { Construct } from "constructs";

/** The function URL of the control API, for callers that IAM allows. */
export class ControlUrl extends Construct {
  constructor(scope: Construct, control: IFunction) {
    super(scope, "Control");
    const { url } = control.addFunctionUrl({ authType: FunctionUrlAuthType.AWS_IAM });
    const output = new CfnOutput(this, "Url", {
      value: url,
      description: "Write this URL as control: into the spoa-relay.yaml that commands use",
    });
    output.overrideLogicalId("ControlUrl");
  }
}
