import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

/** The directory of the repository. */
export const root = resolve(import.meta.dirname, "../../..");

/** A Markdown file of the repository. */
export interface MarkdownDocument {
  /** Relative to the root. */
  readonly file: string;
  readonly text: string;
}

/** Every Markdown file that Git tracks, and the new ones that it does not ignore. */
export function readDocuments(): readonly MarkdownDocument[] {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"], {
    cwd: root,
    encoding: "utf8",
  });
  return listed.trim().split("\n").map(readDocument);
}

/** @param file relative to the root */
export function readDocument(file: string): MarkdownDocument {
  return { file, text: readFileSync(join(root, file), "utf8") };
}

/** A fenced block. */
export interface Block {
  /** Empty if the fence names none. */
  readonly language: string;
  /** Without the indentation of the fence. */
  readonly text: string;
}

const fence = /^( *)```([^\n`]*)\n(.*?)^\1```$/gms;

export function blocksOf(text: string): readonly Block[] {
  return [...text.matchAll(fence)].map(([, indent, language, lines]) => ({
    language,
    text: lines.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
  }));
}

/** The text without its fenced blocks, in which `#` and `[…](…)` mean something else. */
function proseOf(text: string): string {
  return text.replaceAll(fence, "");
}

/** A section with its subsections and without its title. Throws if the document has no such section. */
export function sectionOf({ file, text }: MarkdownDocument, title: string): string {
  const [, found] = text.split(new RegExp(`^## ${title}\n`, "m"));
  if (found === undefined) throw new Error(`${file} has no section "${title}"`);
  return found.split(/^## /m)[0];
}

/** The anchors that GitHub gives the headings of a document: a repeated title gets a number. */
function anchorsOf(text: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, title] of proseOf(text).matchAll(/^#{1,6} +(.+?) *$/gm)) {
    const anchor = toAnchor(title);
    let unique = anchor;
    for (let i = 1; anchors.has(unique); i++) unique = `${anchor}-${i}`;
    anchors.add(unique);
  }
  return anchors;
}

/** The anchor of a heading, as GitHub makes it. */
export function toAnchor(title: string): string {
  return title
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}_\s-]/gu, "")
    .replaceAll(/\s/g, "-");
}

/** What the links and images of a document point at, as written. */
export function linksOf(text: string): readonly string[] {
  const prose = proseOf(text).replaceAll(/`[^`\n]*`(?!\]\()/g, "");
  const inline = [...prose.matchAll(/\]\(([^()\s]+)(?: "[^"]*")?\)/g)];
  const defined = [...prose.matchAll(/^\[[^\]]+\]: +(\S+)/gm)];
  return [...inline, ...defined].map(([, to]) => to);
}

/**
 * The relative links of a document that lead nowhere: to a file that does not exist, or to an anchor that its document does
 * not have.
 *
 * @param directory the directory that the document's file is relative to; links out of it count as dead
 */
export function deadLinksOf(directory: string, { file, text }: MarkdownDocument): readonly string[] {
  return linksOf(text).filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [path, anchor] = link.split("#");
    const place = path === "" ? join(directory, file) : resolve(directory, dirname(file), path);
    if (relative(directory, place).startsWith("..") || !existsSync(place)) return true;
    return anchor !== undefined && !(place.endsWith(".md") && anchorsOf(readFileSync(place, "utf8")).has(anchor));
  });
}
