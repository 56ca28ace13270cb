/** Shorter ones are words by chance more often than secrets. */
const charsMin = 4;
/** Lines of a PEM and texts of a JSON that are shorter say little. */
const partCharsMin = 16;

/**
 * A secret and what it is quoted as: passwords within addresses and connection strings, as they stand and decoded, lines of
 * a key, texts within JSON. The longest come first.
 */
export function secretForms(secrets: readonly string[]): string[] {
  const forms = new Set<string>();
  for (const secret of secrets) {
    const parts = [secret, ...passwordsIn(secret), ...linesOf(secret), ...textsIn(secret)];
    for (const part of parts) for (const spelled of spellings(part)) forms.add(spelled);
  }
  return [...forms].filter(({ length }) => length >= charsMin).sort((a, b) => b.length - a.length);
}

function spellings(text: string): string[] {
  return [text, JSON.stringify(text).slice(1, -1), encodeURIComponent(text)];
}

const login = /(?:^|\/\/)[^:/?#@\s]*:(?!\/\/)([^@\s]+)@/g;
const pair = /(?:password|passwd|pwd|secret|token|key|signature)\s*=\s*(?:'([^']+)'|([^;&\s']+))/gi;

function passwordsIn(text: string): string[] {
  const logins = [...text.matchAll(login)].map(([, password = ""]) => password);
  const pairs = [...text.matchAll(pair)].map(([, quoted, plain]) => quoted ?? plain ?? "");
  const found = [...logins, ...pairs];
  return [...found, ...found.map(decode)];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function linesOf(text: string): string[] {
  const lines = text.split(/\r?\n/);
  if (lines.length === 1) return [];
  return lines.filter((line) => line.length >= partCharsMin && !line.startsWith("-----"));
}

function textsIn(text: string): string[] {
  if (!/^\s*[[{]/.test(text)) return [];
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"/g)]
    .map(([, part = ""]) => part)
    .filter(({ length }) => length >= partCharsMin);
}
