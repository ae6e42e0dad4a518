import { CfnOutput } from "aws-cdk-lib";
import { FunctionUrlAuthType, type IFunction } from "aws-cdk-lib/aws-lambda";
import { Construct } from "constructs";

/** The address of the control API, for callers that IAM lets in. */
export class ControlUrl extends Construct {
  constructor(scope: Construct, control: IFunction) {
    super(scope, "Control");
    const { url } = control.addFunctionUrl({ authType: FunctionUrlAuthType.AWS_IAM });
    const output = new CfnOutput(this, "Url", {
      value: url,
      description: "control: of spoa-relay.yaml where commands run",
    });
    output.overrideLogicalId("ControlUrl");
  }
}
