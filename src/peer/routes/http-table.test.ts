import { describe, expect, test } from "bun:test";
import { seededRandom } from "../../edges/simulated.ts";
import type { HttpRouteMatch } from "../../resource/route.ts";
import { commonHostname, hostnamesFor, isHostname } from "./hostname.ts";
import { type HttpEntry, type HttpFacts, HttpTable } from "./http-table.ts";
import { compileRule } from "./rule.ts";

const grants = { isPermitted: () => true };
const scope = { kind: "HTTPRoute", namespace: "default", apps: [], grants } as const;
const rest = { filters: [], backends: [], requestTimeoutMs: 0, backendRequestTimeoutMs: 0 };
const noMore = { retry: undefined, session: undefined, matches: [] };

function entry(label: string, match: Partial<HttpRouteMatch>, more: Partial<HttpEntry> = {}): HttpEntry {
  return {
    match: { path: { type: "PathPrefix", value: "/" }, headers: [], queryParams: [], method: "", ...match },
    rule: compileRule({ name: "", ...rest, ...noMore }, { label, route: label }, scope),
    ...{ hostname: "", createdAtMs: 0, routeName: "default/r" },
    ...more,
  };
}

// Few letters, so that much of it matches.
const paths = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/a/bc"];
const hosts = ["", "*.x.org", "a.x.org", "*.a.x.org"];

describe("precedence, against one that tries everything", () => {
  test("5,000 random tables", () => {
    const random = seededRandom(7);
    const pick = <T>(of: readonly T[]): T => of[Math.floor(random.next() * of.length)] as T;
    const values = (names: readonly string[]) =>
      names
        .filter(() => random.next() < 0.35)
        .map((name) => ({ name, value: pick(["1", "2"]), isRegex: random.next() < 0.2 }));
    for (let round = 0; round < 5000; round++) {
      const withHosts = random.next() < 0.5;
      const entries = Array.from({ length: 1 + Math.floor(random.next() * 8) }, (_, index) => {
        const type = pick(["Exact", "PathPrefix", "PathPrefix", "RegularExpression"] as const);
        const path = {
          type,
          value: type === "RegularExpression" ? pick(["/a.*", "/.*", "/a/b"]) : pick(paths),
        };
        const match = {
          path,
          headers: values(["h", "i"]),
          queryParams: values(["q", "p"]),
          method: pick(["", "", "GET", "POST"]),
        };
        return entry(String(index), match, {
          hostname: withHosts ? pick(hosts) : "",
          createdAtMs: pick([1, 2]),
          routeName: pick(["default/a", "default/b"]),
        });
      });
      const headers = Object.fromEntries(values(["h", "i"]).map(({ name, value }) => [name, value]));
      const query = values(["q", "p"]).map(({ name, value }) => `${name}=${value}`);
      const facts: HttpFacts = {
        path: pick(paths),
        query: query.join("&"),
        method: pick(["GET", "POST", "PUT"]),
        hostname: pick(["a.x.org", "b.x.org", "b.a.x.org", "y.net"]),
        header: (name) => headers[name],
      };
      const expected = [...entries].filter((one) => isMatch(one, facts)).sort(better)[0];
      const found = new HttpTable(entries, false).find(facts);
      expect([round, found?.rule.label]).toEqual([round, expected?.rule.label]);
    }
  });
});

/** As the standard's text says it, without any index. */
function isMatch({ match, hostname }: HttpEntry, facts: HttpFacts): boolean {
  const { type, value } = match.path;
  const segments = (path: string) => path.split("/").filter((segment) => segment !== "");
  const isPath =
    type === "Exact"
      ? facts.path === value
      : type === "RegularExpression"
        ? facts.path.match(value)?.[0] === facts.path
        : segments(value).every((segment, index) => segments(facts.path)[index] === segment);
  const given = (name: string) =>
    new Map(facts.query.split("&").map((p) => p.split("=") as [string, string])).get(name);
  const isHost =
    hostname === "" ||
    hostname === facts.hostname ||
    (hostname.startsWith("*.") && facts.hostname.endsWith(hostname.slice(1)));
  return (
    isHost &&
    isPath &&
    (match.method === "" || match.method === facts.method) &&
    match.headers.every(({ name, value: wanted }) => facts.header(name) === wanted) &&
    match.queryParams.every(({ name, value: wanted }) => given(name) === wanted)
  );
}

function better(a: HttpEntry, b: HttpEntry): number {
  const rank = ({ match, hostname, createdAtMs, routeName }: HttpEntry): (number | string)[] => [
    hostname === "" || hostname.startsWith("*") ? 0 : -hostname.length,
    -hostname.length,
    match.path.type === "Exact" ? 0 : match.path.type === "RegularExpression" ? 1 : 2,
    -match.path.value.length,
    match.method === "" ? 1 : 0,
    -match.headers.length,
    -match.queryParams.length,
    createdAtMs,
    routeName,
  ];
  const [one, other] = [rank(a), rank(b)];
  for (let i = 0; i < one.length; i++) {
    const [left, right] = [one[i] as number, other[i] as number];
    if (left !== right) return left < right ? -1 : 1;
  }
  return Number(a.rule.label) - Number(b.rule.label);
}

test("of several entries of one name the first counts", () => {
  const headers = [
    { name: "H", value: "1", isRegex: false },
    { name: "h", value: "2", isRegex: false },
  ];
  const table = new HttpTable([entry("r", { headers })], false);
  const facts = { path: "/", query: "", method: "GET", hostname: "", header: () => "1" };
  expect(table.find(facts)?.rule.label).toBe("r");
});

test("a long value matches no regular expression", () => {
  const table = new HttpTable([entry("r", { path: { type: "RegularExpression", value: "/a*" } })], false);
  const at = (length: number) => ({ path: `/${"a".repeat(length)}`, query: "", method: "GET", hostname: "" });
  const find = (length: number) => table.find({ ...at(length), header: () => undefined });
  expect([find(4000) !== undefined, find(5000)]).toEqual([true, undefined]);
});

test("hostnames", () => {
  expect(hostnamesFor("a.b.c")).toEqual(["a.b.c", "*.b.c", "*.c", ""]);
  expect(hostnamesFor("")).toEqual([""]);
  expect([isHostname("*.b.c", "b.c"), isHostname("*.b.c", "x.y.b.c"), isHostname("b.c", "a.b.c")]).toEqual([
    false,
    true,
    false,
  ]);
  const common: [string, string, string | undefined][] = [
    ["", "a.b", "a.b"],
    ["*.b.c", "a.b.c", "a.b.c"],
    ["*.c", "*.b.c", "*.b.c"],
    ["*.b.c", "b.c", undefined],
    ["a.b", "c.d", undefined],
  ];
  for (const [a, b, both] of common)
    expect([commonHostname(a, b), commonHostname(b, a)]).toEqual([both, both]);
});
