import { deadLetterUrl } from "../relay/queue/names.ts";
import { queuePlaceOf, regionOf } from "../relay/queue/sqs-url.ts";
import { type Place, toArn } from "./place.ts";

/** A queue and its dead-letter queue, in the same account and region. */
export interface QueueLayout extends Place {
  /** `ingress`, or the name of the target whose packs wait here. */
  readonly owner: string;
  readonly name: string;
  readonly url: string;
  readonly arn: string;
  /** How long a received message stays hidden: six times the function's timeout, as AWS recommends. */
  readonly visibilitySeconds: number;
  readonly deadLetters: { readonly name: string; readonly url: string; readonly arn: string };
}

export function toQueue(owner: string, url: string, functionTimeoutSeconds: number): QueueLayout {
  const place = { account: queuePlaceOf(new URL(url)).account, region: regionOf(new URL(url)) };
  const toNamed = (queueUrl: string) => {
    const { name } = queuePlaceOf(new URL(queueUrl));
    return { name, url: queueUrl, arn: toArn(place, "sqs", name) };
  };
  const deadLetters = toNamed(deadLetterUrl(url));
  return { ...place, ...toNamed(url), owner, visibilitySeconds: 6 * functionTimeoutSeconds, deadLetters };
}
