// Digits in groups, as people write card numbers; not the fraction of a number.
const groups = /(?<![0-9])(?<![0-9]\.)[0-9]+(?:[ +-][0-9]+)*/g;
const fewestDigits = 13;
const mostDigits = 19;
// First digit and length of the networks' numbers (ISO/IEC 7812). Moments in ms or as digits of a date are none of them.
const cardForm = /^(?:2[0-9]{15}|3[0-9]{13,15}|4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|5[0-9]{15}|6[0-9]{15,18})$/;

/** Masks the numbers of payment cards: 13 to 19 digits with the form of a network and a right check digit (Luhn). */
export function maskCardNumbers(text: string, mask: (value: string) => string): string {
  return text.replace(groups, (run) => (run.length < fewestDigits ? run : maskRun(run, mask)));
}

/** The number may be a part of the groups: a date can be before it. */
function maskRun(run: string, mask: (value: string) => string): string {
  const parts = run.split(/([ +-])/);
  let masked = "";
  for (let first = 0; first < parts.length; ) {
    const last = findCard(parts, first);
    masked += last < 0 ? parts[first] : mask(parts.slice(first, last + 1).join(""));
    first = Math.max(first, last) + 1;
    if (first < parts.length) masked += parts[first++];
  }
  return masked;
}

/** The index of the last group of a card number that begins with this group; -1 if there is none. Groups have even indexes. */
function findCard(parts: readonly string[], first: number): number {
  let digits = "";
  for (let i = first; i < parts.length; i += 2) {
    if (digits.length + parts[i].length > mostDigits) return -1;
    digits += parts[i];
    if (digits.length >= fewestDigits && isCard(digits)) return i;
  }
  return -1;
}

function isCard(digits: string): boolean {
  if (!cardForm.test(digits)) return false;
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const digit = Number(digits[digits.length - 1 - i]);
    const doubled = i % 2 === 1 ? digit * 2 : digit;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}
