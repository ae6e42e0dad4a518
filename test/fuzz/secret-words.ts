export type Random = () => number;

// What a rule of a setting names, spelled in all ways that count, and names that no rule names.
export const names = [
  ..."token|TOKEN|password|passWord|pass%77ord|card|card_number|api-key|Key|a|ab|x|user[token]|user[name]|t%6fken".split(
    "|",
  ),
  ..."+token| token |token[b]|b[]|%75ser%5Btoken%5D|b|q|tokens|pass|sid|sud|user|page|".split("|"),
];

export const values = [
  ..."|1|s3cret|s3cret|a b|a+b|a%20b%3Dc|%zz|=|a=b|x;y|\xe9t\xe9|a,b|%7B%22token%22%3A1%7D|{}|[1|http://h/?token=s".split(
    "|",
  ),
  ...'"quoted"|"a;b"|{"token":"s"}|http%3A%2F%2Fh%2F%3Ftoken%3Ds%26b%3Dc|/next?a=b&token=c|a%3D%2541%3Db'.split("|"),
  ...["%2525252574oken%252525253Dx", "0".repeat(300), "/a;token=s3cret", "%252Fa%253Ftoken%253Ds3cret"],
  ...['{"a":"b;c?d#e","token":"s3cret"}', '{"a":"b & c","token":"s3cret"}'],
];

export const types = [
  ..."application/json|application/json; charset=utf-8|application/x-www-form-urlencoded|text/plain||*/*".split("|"),
  ..."application/vnd.a+json|image/png|application/xml|application/octet-stream|Application/JSON".split("|"),
  ..."application/x-ndjson|text/plain; charset=utf-16|multipart/form-data|multipart/form-data; boundary=b".split("|"),
  ..."application/json, text/plain|x-www-form-urlencoded".split("|"),
  ..."application/json; profile=/a?token=s3cret|application/x-www-form-urlencoded;profile=/a;token=s3cret".split("|"),
];

// What means something to a reader of URLs, cookies, forms, JSON or multipart.
const marks = [
  ...`&;?#=%+"'\\{}[]:,<> \t\0\xe9`,
  ...'\r\n|--b|%3D|%26|\\u0061|**|[]|","|token=s3cret|"token":"s3cret"'.split("|"),
];

/** Parameters of a query, or fields of a form. */
export function pairs(random: Random, separator: string): string {
  const length = random() < 0.01 ? 300 : 1 + below(5, random);
  return Array.from({ length }, () => `${pick(names, random)}=${pick(values, random)}`).join(
    random() < 0.9 ? separator : ";",
  );
}

/** The text, or seldom one with a part left out, repeated, or replaced by a mark. */
export function hurt(text: string, random: Random): string {
  if (random() > 0.05) return text;
  const at = below(text.length + 1, random);
  const end = at + (random() < 0.5 ? 0 : below(8, random));
  const repeated = random() < 0.2 ? text.slice(below(at + 1, random), at) : "";
  return text.slice(0, at) + repeated + (random() < 0.8 ? pick(marks, random) : "") + text.slice(end);
}

export function below(limit: number, random: Random): number {
  return Math.floor(random() * limit);
}

export function pick<T>(all: readonly T[], random: Random): T {
  return all[below(all.length, random)];
}
