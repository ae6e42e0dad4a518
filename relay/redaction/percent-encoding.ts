/** Decodes %XX and + to bytes, one character each. What is not a valid escape is kept. */
export function decodePercent(text: string): string {
  if (!text.includes("%") && !text.includes("+")) return text;
  return text
    .replaceAll("+", " ")
    .replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}

/** Encodes bytes so that they can be a value of a query or a form. Characters that are no bytes are kept: they are marks. */
export function encodePercent(text: string): string {
  return text.replace(
    /[^!$'()*,\-./0-9:@A-Z_a-z~\u0100-\uffff]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}
