import type { TargetConfig } from "../config/config.ts";
import { type CapturedRequest, headerOf } from "../pack/captured-request.ts";

const credentialHeaders = ["authorization", "cookie"] as const;

/** Whether a request is sent with its captured credentials, which may have expired since. */
export function sendsCapturedCredentials({ headers, sign }: TargetConfig, request: CapturedRequest): boolean {
  return credentialHeaders.some(
    (name) =>
      headerOf(request.headers, name) !== undefined &&
      !headers.remove.includes(name) &&
      !Object.hasOwn(headers.set, name) &&
      !(sign && name === "authorization"),
  );
}
