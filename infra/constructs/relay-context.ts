import { RemovalPolicy } from "aws-cdk-lib";
import type { IKey } from "aws-cdk-lib/aws-kms";
import type { Config } from "../../relay/config/config.ts";
import type { Layout, StackLayout } from "../layout.ts";

/** Shared by all constructs of an app. */
export interface RelayContext {
  readonly config: Config;
  readonly layout: Layout;
  /** Directory with the bundles of the functions. */
  readonly bundles: string;
  /** The files that are deployed with a function's bundle, by name; see `toDeployedFiles`. */
  readonly filesOf: (replayed: string | undefined) => ReadonlyMap<string, string>;
}

/** Shared by all constructs of a stack. */
export interface StackContext extends RelayContext {
  readonly stack: StackLayout;
  /** The key that encrypts the stack's queues, buckets and table; if undefined, AWS managed keys do. */
  readonly key?: IKey;
}

/** For resources that hold data: they stay if their stack is deleted, but not if their creation fails and is rolled back. */
export function removalPolicyOf({ deployment: { keepData } }: Config): RemovalPolicy {
  return keepData ? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE : RemovalPolicy.DESTROY;
}
