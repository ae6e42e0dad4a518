const regionPattern = "[a-z]{2,}(?:-[a-z]+)+-\\d+";
// Public, FIPS, dual-stack and VPC endpoints, in all partitions, and emulators that follow the pattern.
const regionInHost = new RegExp(`(?:^|\\.)sqs(?:-fips)?\\.(${regionPattern})\\.|^(${regionPattern})\\.queue\\.`);
const awsHost = /(?:^|\.)(?:amazonaws\.com(?:\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn)$/;
const emulatorRegion = "us-east-1";

/** The region that requests for a queue are signed for, from the host of its URL; where that names none, us-east-1. */
export function regionOf(queueUrl: URL): string {
  return namedRegionOf(queueUrl) ?? emulatorRegion;
}

/** The region that the host of a queue's URL names; undefined where it names none. */
export function namedRegionOf({ hostname }: URL): string | undefined {
  const match = regionInHost.exec(hostname);
  return match?.[1] ?? match?.[2];
}

/** Account and name of a queue, the end of its URL. */
export function queuePlaceOf(queueUrl: URL): { readonly account: string; readonly name: string } {
  const [account = "", name = ""] = queueUrl.pathname.split("/").slice(-2);
  return { account, name };
}

/** True for a queue of SQS itself; false for one of an emulator. */
export function isOfAws({ hostname }: URL): boolean {
  return awsHost.test(hostname);
}

/**
 * The URL of the queue of the same account and name in another region, at that region's public endpoint. Where an emulator
 * names no region in its host, the same URL.
 */
export function inRegion(queueUrl: URL, region: string): URL {
  const moved = new URL(queueUrl);
  if (regionOf(queueUrl) === region) return moved;
  // Not the same endpoint with another region in it: those of a VPC are of its region only.
  if (isOfAws(moved)) moved.host = `sqs.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
  else moved.hostname = moved.hostname.replace(namedRegionOf(queueUrl) ?? "", (named) => named && region);
  return moved;
}

/** What keeps a URL from being that of a standard queue, as the end of a sentence about it, or undefined. */
export function findQueueUrlMistake(queueUrl: URL): string | undefined {
  const { hostname, pathname, username, password, search, hash } = queueUrl;
  if (username || password) {
    return "must not contain credentials: put them into the environment, a profile or a role of this machine";
  }
  const name = pathname.split("/").at(-1) ?? "";
  if (name.endsWith(".fifo")) {
    return "must be a standard queue: in a FIFO queue one waiting pack blocks all packs behind it";
  }
  const ofAws = isOfAws(queueUrl);
  const complete = ofAws ? /^\/\d{12}\/[\w-]{1,80}$/ : /^\/(?:[^/]+\/)*[\w-]{1,80}$/;
  if (!complete.test(pathname) || search || hash) {
    return "must end with /ACCOUNT/NAME, as in the URL that SQS shows for the queue";
  }
  // The host without a region is as old as SQS itself, and means the first region.
  if (ofAws && hostname !== "queue.amazonaws.com" && !regionInHost.test(hostname)) {
    return "must name its region, as in https://sqs.REGION.amazonaws.com/ACCOUNT/NAME";
  }
  return undefined;
}

/** True where nobody between here and the queue can read what is sent. */
export function isPrivate(queueUrl: URL): boolean {
  return queueUrl.protocol === "https:" || /^(?:.+\.)?localhost$|^127(?:\.\d+){3}$|^\[::1\]$/.test(queueUrl.hostname);
}
