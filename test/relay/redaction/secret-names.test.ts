import { expect, it } from "vitest";
import { isSecretName } from "../../../relay/redaction/secret-names.ts";

it.each([
  ...[
    "Authorization",
    "proxy-authorization",
    "Cookie",
    "set-cookie",
    "X-Api-Key",
    "x_api_key",
    "apikey",
    "apiKey",
    "API-KEY",
  ],
  ...[
    "key",
    "client_secret",
    "clientSecret",
    "CLIENTSECRET",
    "access_token",
    "X-CSRF-Token",
    "xsrf",
    "password",
    "passwd",
    "user_pass",
  ],
  ...[
    "pwd",
    "passphrase",
    "jwt",
    "id-jwt",
    "JSESSIONID",
    "PHPSESSID",
    "connect.sid",
    "session",
    "sessionToken",
    "x-auth",
    "auth",
  ],
  ...[
    "oauth_verifier",
    "OAuthToken",
    "signature",
    "X-Hub-Signature-256",
    "sig",
    "X-Amz-Date",
    "x-amz-credential",
    "AWSAccessKeyId",
  ],
  ...[
    "SAMLResponse",
    "client_assertion",
    "credentials",
    "pin",
    "cardNumber",
    "cvv",
    "secret2",
    "key_1",
    "DBKey",
    "private-key",
    "otp",
  ],
])("takes the value of %s for a secret", (name) => {
  expect(isSecretName(name)).toBe(true);
});

it.each([
  ...[
    "author",
    "authority",
    "x-author-name",
    "monkey",
    "keyboard",
    "keyword",
    "turkey",
    "Host",
    "user-agent",
    "accept",
    "Date",
  ],
  ...[
    "content-type",
    "x-request-id",
    "page",
    "name",
    "user",
    "email",
    "compass",
    "passenger",
    "bypass",
    "x-forwarded-for",
    "pinned",
  ],
  ...["signal", "assignment", "design", "sidebar", "state", "code", "version", "x-amzn-trace-id", "pandas", "", "-"],
])("does not take the value of %s for one", (name) => {
  expect(isSecretName(name)).toBe(false);
});

it.each(["tokenizer", "max_tokens", "secretary", "sort_key", "cookieBanner", "sessions"])(
  "takes the value of %s for a secret as well: to show too little does no harm",
  (name) => {
    expect(isSecretName(name)).toBe(true);
  },
);
