/**
 * Replaces `$VAR` and `${VAR}` as Go's os.ExpandEnv does: an absent variable is an empty text, a dollar that no name
 * follows stays.
 */
export function expandVariables(text: string, env: Readonly<Record<string, string | undefined>>): string {
  return text.replace(/\$(?:\{([^{}]*)\}|([A-Za-z_]\w*))/g, (_, braced?: string, bare?: string) => {
    return env[braced ?? bare ?? ""] ?? "";
  });
}
