import { readdirSync, readFileSync } from "node:fs";

/** An argument of a recorded NOTIFY, as the comments of the file describe it. */
interface GoldenArgument {
  /** Empty for an argument without a name. */
  readonly name: string;
  readonly type: string;
  /** The comment's text about the value. */
  readonly value: string;
  /** Name, value, … if the value is a header list. */
  readonly headers: readonly string[];
}

interface GoldenMessage {
  readonly name: string;
  readonly args: readonly GoldenArgument[];
}

interface GoldenFrame {
  readonly type: string;
  readonly flags: number;
  readonly streamId: bigint;
  readonly frameId: bigint;
  readonly length: number;
}

/** Frames that were recorded from a real HAProxy, with the descriptions in their file's comments. */
export interface GoldenFile {
  /** `haproxy-3.2/notify-types.hex`. */
  readonly name: string;
  /** `2.6`, `3.0`, `3.2`. */
  readonly version: string;
  readonly comments: readonly string[];
  /** The received frames with their length prefixes. */
  readonly frames: readonly Buffer[];
  readonly described: readonly GoldenFrame[];
  readonly messages: readonly GoldenMessage[];
  /** Items of a HELLO or DISCONNECT: name to type and value. */
  readonly items: Readonly<Record<string, string>>;
}

const directory = new URL("../../fixtures/", import.meta.url);
const versions = ["2.6", "3.0", "3.2"];

/** The recordings of one kind (`notify-types`, `hello`, …), of all versions that have it. */
export function goldenFiles(kind: string): GoldenFile[] {
  const found = allGoldenFiles().filter(({ name }) => name.endsWith(`/${kind}.hex`));
  if (found.length === 0) throw new Error(`no recording of the kind ${kind}`);
  return found;
}

/** All recordings. */
export function allGoldenFiles(): GoldenFile[] {
  return versions.flatMap((version) =>
    readdirSync(new URL(`haproxy-${version}/`, directory))
      .sort()
      .map((file) => readGolden(version, file)),
  );
}

function readGolden(version: string, file: string): GoldenFile {
  const name = `haproxy-${version}/${file}`;
  const text = readFileSync(new URL(name, directory), "utf8");
  const comments = text
    .split("\n")
    .filter((line) => line.startsWith("#"))
    .map((line) => line.slice(2));
  const hex = text
    .split("\n")
    .map((line) => (line.startsWith("#") ? "" : line))
    .join("\n");
  const frames = hex
    .split(/\n\s*\n/)
    .map((block) => Buffer.from(block.replaceAll(/\s/g, ""), "hex"))
    .filter((block) => block.length > 0);
  return { name, version, comments, frames, ...describe(comments) };
}

function describe(comments: readonly string[]): Pick<GoldenFile, "described" | "messages" | "items"> {
  const described: GoldenFrame[] = [];
  const messages: { name: string; args: (GoldenArgument & { headers: string[] })[] }[] = [];
  const items: Record<string, string> = {};
  for (const line of comments) {
    const frame = /frame (\S+) flags=(\d+).* stream-id=(\d+) frame-id=(\d+) length=(\d+)/.exec(line);
    const message = /^message "(.*)", \d+ arguments$/.exec(line);
    const item = /^ {2}(\(no name\)|\S+) +(NULL|BOOL|U?INT(?:32|64)|IPV[46]|STRING|BINARY) ?(.*)$/.exec(line);
    const header = /^ {10,}([^:]+): (.*)$/.exec(line);
    if (frame) {
      const [type, flags, streamId, frameId, length] = frame.slice(1);
      described.push({
        type,
        flags: Number(flags),
        streamId: BigInt(streamId),
        frameId: BigInt(frameId),
        length: Number(length),
      });
    } else if (message) {
      messages.push({ name: message[1], args: [] });
    } else if (header) {
      messages
        .at(-1)
        ?.args.at(-1)
        ?.headers.push(header[1], header[2] === "(empty)" ? "" : header[2]);
    } else if (item) {
      const [name, type, value] = [item[1] === "(no name)" ? "" : item[1], item[2], item[3].trim()];
      const open = messages.at(-1);
      if (open) open.args.push({ name, type, value, headers: [] });
      else items[name] = `${type} ${value}`;
    }
  }
  return { described, messages, items };
}
