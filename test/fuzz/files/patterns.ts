import { Pattern, Rewrite } from "../../../relay/rules/pattern.ts";
import { PatternError } from "../../../relay/rules/pattern-error.ts";
import { assertTrue, type FileKind } from "./file-kind.ts";

const texts = [
  "^/api/(v[0-9]+)/\n/api/v1/orders?a=b",
  "^(?!/health|/metrics)(?=.*\\.json)(?:/a|/b)\n/b/c.json",
  "(?i)\\bTOKEN=[^&]+(&|$)\n/?token=abc",
  "^/\\Q.*\\E[\\w\\-\\x41\\]]+?\\pL*\n/.*x-A",
];
const marks = [
  ..."(?: (?= (?! (?<= (?<n> (?i) \\1 \\k<n> \\Q \\E \\b \\d \\p{L} \\x{1F600} [^ [:alpha:] {1,1000} {0} {,5} *? ++ $ ^ . () [] [a-".split(
    " ",
  ),
  ..."(a*)*|(a|a)*|.{500}|(x{100}){100}|\\u{110000}|[z-a]|(?P<n>a)|\\C|\\z|(|)|\\|[\\d-z]|\ud800".split("|"),
];

/** Regular expressions of the configuration and of `--where`, each with a text below. */
export const patterns: FileKind = {
  name: "pattern",
  seeds: texts.map((text) => ({ bytes: Buffer.from(text), accepted: 1, refused: 0 })),
  share: 8,
  marks,
  read: (bytes) => {
    const [source = "", ...rest] = bytes.toString().split("\n");
    const text = rest.join("\n");
    let pattern: Pattern;
    try {
      pattern = new Pattern(source);
    } catch (error) {
      checkError(error);
      return { accepted: 0, refused: 1 };
    }
    checkRewrite(source, text, pattern);
    return { accepted: 1, refused: 0 };
  },
};

function checkRewrite(source: string, text: string, pattern: Pattern): void {
  let rewrite: Rewrite;
  try {
    rewrite = new Rewrite(source);
  } catch (error) {
    return checkError(error);
  }
  if (text.length > 4_096) return;
  const replaced = rewrite.replace(text, "\u{1F600}$&");
  const found = replaced.includes("\u{1F600}") && !text.includes("\u{1F600}");
  assertTrue(text.includes("\u{1F600}") || found === pattern.test(text), "a pattern and a rewrite differ");
}

function checkError(error: unknown): void {
  if (!(error instanceof PatternError)) throw error;
  assertTrue(error.message.length < 600 && error.reason !== "", () => `an error says ${error.message}`);
}
