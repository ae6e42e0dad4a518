import { createControl } from "./control.ts";
import { type LambdaHandler, toLambdaHandler } from "./lambda.ts";
import { type Environment, openLambdaPlace } from "./lambda-place.ts";

/**
 * The control API in Lambda, for a function URL whose callers IAM has checked: this function asks for no token. Throws as
 * `openLambdaPlace`.
 */
export async function openControl(env: Environment): Promise<LambdaHandler> {
  const { config, stores, log } = await openLambdaPlace(env);
  const { targets } = config;
  return toLambdaHandler(createControl({ targets, stores, access: { kind: "checked" }, log }), { log });
}
