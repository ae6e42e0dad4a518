import { RemovalPolicy } from "aws-cdk-lib";
import type { IKey } from "aws-cdk-lib/aws-kms";
import type { Config } from "../../relay/config/config.ts";
import type { Layout, StackLayout } from "../layout.ts";

/** What all constructs of an app are made from. */
export interface RelayContext {
  readonly config: Config;
  readonly layout: Layout;
  /** Directory with the bundles of the functions. */
  readonly bundles: string;
  /** What stands beside the bundle of a function, by the names of the files; see `toDeployedFiles`. */
  readonly filesOf: (replayed: string | undefined) => ReadonlyMap<string, string>;
}

/** The same for those of one stack. */
export interface StackContext extends RelayContext {
  readonly stack: StackLayout;
  /** Encrypts what the stack has; the keys of AWS do where it is undefined. */
  readonly key?: IKey;
}

/** Of what holds data: it stays where its stack is deleted, but not where it could not even be made. */
export function removalPolicyOf({ deployment: { keepData } }: Config): RemovalPolicy {
  return keepData ? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE : RemovalPolicy.DESTROY;
}
