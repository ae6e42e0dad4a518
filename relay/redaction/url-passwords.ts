import { maskParameters } from "./parameters.ts";
import { isSecretName } from "./secret-names.ts";

const hidden = "…";
// What ends a URL in a sentence, in JSON and in a header.
const tokenEnd = /[\s"'<>`\\]/;
// PHP escapes slashes in JSON.
const authorityStart = /\\?\/\\?\//g;
const authorityEnd = /[\s"'<>`\\/?#]/;
// No `@`, and behind the colon more than a port. Each character has one place in it: the text may be long.
const withoutPort = /^[^[@:]*:[0-9]*[^0-9@][^@]*$/;

/**
 * A text that should be a URL, for an error or a log: without user, password and secret parameters. It may be written wrongly, so
 * everything before the last @ counts as user and password.
 */
export function showUrl(url: string | URL): string {
  const shown = withoutUser(typeof url === "string" ? url : url.href);
  const mark = shown.search(/[?#]/);
  if (mark < 0) return shown;
  return shown.slice(0, mark) + maskParameters(shown.slice(mark), { names: isSecretName, mask: () => hidden });
}

function withoutUser(text: string): string {
  const at = text.lastIndexOf("@");
  if (at < 0) return text;
  if (!text.slice(0, at).includes(":")) return text;
  const scheme = /^\s*[a-z][a-z0-9+.-]*:[/\\]*/i.exec(text.slice(0, at))?.[0] ?? "";
  // A path may contain an @ as well.
  if (text.includes("//") && URL.canParse(text)) {
    const { username, password } = new URL(text);
    if (username === "" && password === "") return text;
  }
  return `${/[/\\]$/.test(scheme) ? scheme : ""}${hidden}${text.slice(at)}`;
}

/** Leaves user and password out of every URL in a text, such as the message of an error. */
export function hideUrlPasswords(text: string, mask: string = hidden): string {
  if (!text.includes("/") || !text.includes("@")) return text;
  let shown = "";
  let copied = 0;
  authorityStart.lastIndex = 0;
  while (authorityStart.test(text)) {
    const at = authorityStart.lastIndex;
    let end = endOf(text, at, authorityEnd);
    // No port behind the colon: it is a password, in which a slash has ended the authority too early.
    if (withoutPort.test(text.slice(at, end))) end = endOf(text, end, tokenEnd);
    const userEnd = text.slice(at, end).lastIndexOf("@");
    if (userEnd >= 0) {
      shown += text.slice(copied, at) + mask;
      copied = at + userEnd;
    }
    authorityStart.lastIndex = end;
  }
  return shown + text.slice(copied);
}

function endOf(text: string, start: number, ends: RegExp): number {
  let end = start;
  while (end < text.length && !ends.test(text[end])) end++;
  return end;
}
