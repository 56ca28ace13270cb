import { BlockList, isIPv4, isIPv6 } from "node:net";

export type TextTest = (value: string) => boolean;

/** One of the texts: exact, `abc*`, `*abc`, or `*` for all that is not empty. */
export function oneOfGlobs(globs: readonly string[]): TextTest {
  const exact = new Set(globs.filter((glob) => !isGlob(glob)));
  const rest = globs.filter(isGlob).map(globTest);
  if (rest.length === 0) return (value) => exact.has(value);
  return (value) => exact.has(value) || rest.some((test) => test(value));
}

function isGlob(text: string): boolean {
  return text.startsWith("*") || text.endsWith("*");
}

function globTest(glob: string): TextTest {
  if (glob === "*") return (value) => value !== "";
  if (glob.endsWith("*")) return (value) => value.startsWith(glob.slice(0, -1));
  return (value) => value.endsWith(glob.slice(1));
}

const template = /\{\*{1,2}\}/;

/** Paths are compared as they are after decoding: `/a%20b` and `/a b` are the same rule. */
export function oneOfPaths(paths: readonly string[]): TextTest {
  const templates = paths.filter((path) => template.test(path)).map(templateTest);
  const globs = oneOfGlobs(paths.filter((path) => !template.test(path)).map(decoded));
  return (value) => globs(value) || templates.some((test) => test(value));
}

/** `{*}` is one segment, `{**}` any number of them, none included: a path has no slash at its end. */
function templateTest(path: string): TextTest {
  const parts = path
    .split("/")
    .slice(1)
    .map((segment) => {
      if (segment === "{*}") return "/[^/]+";
      if (segment === "{**}") return "(?:/[^/]+)*";
      return segment === "" ? "" : `/${decoded(segment).replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`;
    });
  const pattern = new RegExp(`^${parts.join("")}$`, "s");
  return (value) => pattern.test(value === "/" ? "" : value);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** One of addresses and CIDR blocks. */
export function oneOfBlocks(blocks: readonly string[]): TextTest {
  const list = new BlockList();
  for (const block of blocks) {
    const [address = "", bits] = block.split("/");
    const family = isIPv4(address) ? "ipv4" : "ipv6";
    list.addSubnet(address, Number(bits ?? (family === "ipv4" ? 32 : 128)), family);
  }
  return (value) => {
    const address = value.startsWith("::ffff:") && isIPv4(value.slice(7)) ? value.slice(7) : value;
    if (isIPv4(address)) return list.check(address, "ipv4");
    return isIPv6(address) && list.check(address, "ipv6");
  };
}
