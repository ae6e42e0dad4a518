// The one list of names that suggest a secret: of headers, cookies, parameters, form fields, keys of JSON and arguments of SPOE.

// Anywhere in the letters and digits of the name: `clientsecret`, `X-CSRF-Token`, `JSESSIONID`.
const parts =
  /auth(?:ori[sz]ation|entic|token|code|key)|bearer|cookie|token|secret|passw|passphrase|passcode|apikey|accesskey|privatekey|signingkey|encryptionkey|subscriptionkey|sharedkey|masterkey|licensekey|credential|session|sessid|signature|jwt|csrf|xsrf|samlre|assertion|onetimecode|verificationcode|securitycode|cardnumber|clientcert/;

// A word of the name: `x-auth`, `apiKey`, `user_pin`, but not `author`, `monkey` or `keyboard`.
const words: ReadonlySet<string> = new Set([
  ...["auth", "oauth", "key", "keys", "pass", "pwd", "pw", "pin", "otp", "totp", "mfa", "sid", "sig", "hmac"],
  ...["cvv", "cvc", "cvn", "csc", "creds", "ssn", "pan"],
]);

const longestName = 256;

/** Whether a name suggests that its value is a secret. */
export function isSecretName(name: string): boolean {
  // Nobody gives such a long name to anything harmless.
  if (name.length > longestName) return true;
  if (/^x-amz-/i.test(name)) return true;
  const split = name.replace(/([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])/g, "$1$3-$2$4").toLowerCase();
  if (parts.test(split.replace(/[^a-z0-9]/g, ""))) return true;
  return split.split(/[^a-z0-9]+/).some((word) => words.has(word.replace(/[0-9]+$/, "")));
}
