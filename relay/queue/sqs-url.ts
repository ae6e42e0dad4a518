const regionPattern = "[a-z]{2,}(?:-[a-z]+)+-\\d+";
// Matches public, FIPS, dual-stack and VPC endpoints in all partitions, and emulators with similar host names.
const regionInHost = new RegExp(`(?:^|\\.)sqs(?:-fips)?\\.(${regionPattern})\\.|^(${regionPattern})\\.queue\\.`);
const awsHost = /(?:^|\.)(?:amazonaws\.com(?:\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn)$/;
const emulatorRegion = "us-east-1";

/** The region that calls to a queue are signed for, from the host of its URL; us-east-1 if the host names no region. */
export function regionOf(queueUrl: URL): string {
  return namedRegionOf(queueUrl) ?? emulatorRegion;
}

/** The region in the host of a queue's URL; undefined if it names no region. */
export function namedRegionOf({ hostname }: URL): string | undefined {
  const match = regionInHost.exec(hostname);
  return match?.[1] ?? match?.[2];
}

/** The account and the name of a queue, from the end of its URL. */
export function queuePlaceOf(queueUrl: URL): { readonly account: string; readonly name: string } {
  const [account = "", name = ""] = queueUrl.pathname.split("/").slice(-2);
  return { account, name };
}

/** True for a queue in AWS; false for a queue in an emulator. */
export function isOfAws({ hostname }: URL): boolean {
  return awsHost.test(hostname);
}

/**
 * The URL of the queue with the same account and name in another region, at that region's public endpoint. For an emulator
 * without a region in its host, this is the same URL.
 */
export function inRegion(queueUrl: URL, region: string): URL {
  const moved = new URL(queueUrl);
  if (regionOf(queueUrl) === region) return moved;
  // Replacing the region in the host would not work: VPC endpoints exist in one region only.
  if (isOfAws(moved)) moved.host = `sqs.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
  else moved.hostname = moved.hostname.replace(namedRegionOf(queueUrl) ?? "", (named) => named && region);
  return moved;
}

/** Why a URL is not that of a standard queue, as the end of a sentence ("must …"); undefined if it is. */
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
  // The legacy host without a region means us-east-1.
  if (ofAws && hostname !== "queue.amazonaws.com" && !regionInHost.test(hostname)) {
    return "must name its region, as in https://sqs.REGION.amazonaws.com/ACCOUNT/NAME";
  }
  return undefined;
}

/** True if nobody between this process and the queue can read the requests. */
export function isPrivate(queueUrl: URL): boolean {
  return queueUrl.protocol === "https:" || /^(?:.+\.)?localhost$|^127(?:\.\d+){3}$|^\[::1\]$/.test(queueUrl.hostname);
}
