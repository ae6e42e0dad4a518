import { Duration, Validations } from "aws-cdk-lib";
import { BlockPublicAccess, Bucket, BucketEncryption, ObjectOwnership } from "aws-cdk-lib/aws-s3";
import { Construct } from "constructs";
import type { BucketLayout } from "../bucket-layout.ts";
import { removalPolicyOf, type StackContext } from "./relay-context.ts";
import { foreignStatements } from "./statement.ts";

/** A bucket of captures. Not versioned: no version of a request may outlive `keep`. */
export class CapturesBucket extends Construct {
  readonly bucket: Bucket;

  constructor(scope: Construct, id: string, layout: BucketLayout, context: StackContext) {
    super(scope, id);
    const { config, key } = context;
    this.bucket = new Bucket(this, "Captures", {
      bucketName: layout.name,
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      enforceSSL: true,
      ...(key
        ? { encryption: BucketEncryption.KMS, encryptionKey: key, bucketKeyEnabled: true }
        : { encryption: BucketEncryption.S3_MANAGED }),
      lifecycleRules: layout.captures.map(({ name, prefix, keepDays }) => ({
        id: name,
        prefix,
        expiration: Duration.days(keepDays),
        abortIncompleteMultipartUploadAfter: Duration.days(1),
      })),
      removalPolicy: removalPolicyOf(config),
    });
    for (const statement of foreignStatements(layout, context.layout)) this.bucket.addToResourcePolicy(statement);
    Validations.of(this.bucket).acknowledge({
      id: "AwsSolutions-S1",
      reason: "Access logs need a second bucket, and CloudTrail data events say more to those who want to audit access",
    });
  }
}
