/** How names of streets end, in each case. */
const streets = [
  "Street",
  "St",
  "Avenue",
  "Ave",
  "Road",
  "Rd",
  "Highway",
  "Hwy",
  "Square",
  "Sq",
  "Trail",
  "Drive",
  "Dr",
]
  .concat(["Court", "Ct", "Parkway", "Pkwy", "Circle", "Cir", "Boulevard", "Blvd", "Lane", "Ln"])
  .flatMap((name) => [name, name.toLowerCase()]);

/**
 * What looks like personal data, as Dapr names it; the first that fits at a place counts. Every repetition has a bound,
 * so that no text takes long.
 */
const entities: readonly [name: string | undefined, pattern: string][] = [
  // Addresses of pages stay as they are.
  [undefined, String.raw`https?:\/\/[^\s<>"]{1,2000}`],
  ["EMAIL_ADDRESS", String.raw`[A-Za-z0-9._%+'-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b`],
  ["MAC_ADDRESS", String.raw`\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b`],
  ["IP", String.raw`\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b(?!\.\d)`],
  ["IP", String.raw`(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![\w:])`],
  ["IP", String.raw`(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6}(?![\w:])`],
  ["IBAN", String.raw`\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b`],
  ["US_SSN", String.raw`\b\d{3}-\d{2}-\d{4}\b`],
  ["ISBN", String.raw`\b(?:ISBN(?:-1[03])?:? ?)?97[89][- ]?\d{1,5}[- ]?\d{1,7}[- ]?\d{1,6}[- ]?\d\b`],
  ["CREDIT_CARD", String.raw`\b(?:\d{4}[ -]?){3}\d{4}\b|\b3[47]\d{2}[ -]?\d{6}[ -]?\d{5}\b`],
  ["PO_BOX", String.raw`\b[Pp]\.? ?[Oo]\.? ?[Bb]ox \d{1,8}\b`],
  ["STREET_ADDRESS", String.raw`\b\d{1,5} (?:[A-Za-z.'-]{1,20} ){1,4}(?:${streets.join("|")})\b\.?`],
  [
    "PHONE_NUMBER",
    String.raw`(?<![\w.])(?:\+\d{1,3}[ .-]?)?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]?\d{2,4}){2,4}(?![\w-])`,
  ],
  ["PHONE_NUMBER", String.raw`\+\d{7,15}\b`],
  ["ZIP_CODE", String.raw`(?<![\w.,])\d{5}(?:-\d{4})?\b`],
];

const any = new RegExp(entities.map(([, pattern]) => `(${pattern})`).join("|"), "g");

/** The text with the kind of data in the place of what looks like it: `<EMAIL_ADDRESS>`. */
export function withoutPersonalData(text: string): string {
  return text.replace(any, (found: string, ...groups: unknown[]) => {
    const index = groups.slice(0, entities.length).findIndex((group) => group !== undefined);
    const name = entities[index]?.[0];
    return name === undefined ? found : `<${name}>`;
  });
}
