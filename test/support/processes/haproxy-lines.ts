/** The example with a second port of the front end, for HTTP/2 without TLS. */
export function withHttp2(text: string, port: number): string {
  return text.replace(/^ +bind .*FRONTEND_PORT.*$/m, `$&\n    bind 127.0.0.1:${port} proto h2`);
}

/** The example with these rules at the end of the front end `web`. */
export function withRules(text: string, rules: readonly string[]): string {
  return text.replace(/^ +default_backend primary$/m, (line) =>
    [...rules.map((rule) => `    ${rule}`), line].join("\n"),
  );
}
