import { afterAll, beforeAll, expect, test } from "bun:test";
import net from "node:net";
import { type FakeApp, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";

// The recurring hole of meshes: a path that the policy reads in one way and the app in another (security.md §3, §4.6).
// Each is sent as raw bytes. It is no bypass when it is refused, or when what got to the app is nothing that is denied.

let app: FakeApp;
let mecha: TestMecha;
const seen: string[] = [];

const rules = (paths: string[]) => [{ to: [{ operation: { paths } }] }];
const policyOf = (name: string, app_: string, action: string, paths: string[]): string =>
  `---\n${JSON.stringify({
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name },
    spec: { selector: { matchLabels: { app: app_ } }, action, rules: rules(paths) },
  })}\n`;

beforeAll(async () => {
  const note = (request: { target?: string; path?: string }) => {
    seen.push(request.target ?? request.path ?? "");
    return { body: "here" };
  };
  app = await fakeApp({ otherwise: note as never });
  mecha = await startMecha({
    resources:
      policyOf("deny", "denying", "DENY", ["/admin", "/admin/*", "/a b/*", "/v1/{*}/secret/{**}"]) +
      policyOf("allow", "allowing", "ALLOW", ["/public", "/public/*", "/open/{*}/read"]),
    apps: [{ appId: "shop" }, { appId: "denying", app }, { appId: "allowing", app }],
  });
});
afterAll(async () => {
  await mecha.stop();
  await app.close();
});

/** The status of a request whose target is sent as it stands. */
function raw(target: string, lines = ""): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(mecha.ports("shop").http, "127.0.0.1");
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
    });
    socket.on("close", () => resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0)));
    socket.on("error", reject);
    socket.write(
      Buffer.from(`GET ${target} HTTP/1.1\r\nHost: localhost\r\n${lines}Connection: close\r\n\r\n`, "latin1"),
    );
  });
}

const decode = (path: string): string =>
  path.replace(/%([0-9a-fA-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));

function resolve(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "..") segments.pop();
    else if (segment !== "" && segment !== ".") segments.push(segment);
  }
  return `/${segments.join("/")}`;
}

/** What servers make of a path: most, those of Java, those of Windows, and those that decode twice. */
const readers: ((path: string) => string)[] = [
  (path) => resolve(decode(path)),
  (path) => resolve(decode(path.replace(/;[^/]*/g, ""))),
  (path) => resolve(decode(path).replace(/;[^/]*/g, "")),
  (path) => resolve(decode(path).replaceAll("\\", "/")),
  (path) => resolve(decode(decode(path))),
  (path) => resolve(decode(resolve(decode(path)))),
  (path) => resolve(path),
];

function readings(target: string): string[] {
  const path = target.split(/[?#]/)[0] as string;
  return readers.map((read) => read(path));
}

const isAdmin = (path: string): boolean =>
  /^\/admin(\/|$)/.test(path) || /^\/a b\//.test(path) || /^\/v1\/[^/]+\/secret(\/|$)/.test(path);
const isPublic = (path: string): boolean =>
  /^\/public(\/|$)/.test(path) || /^\/open\/[^/]+\/read$/.test(path);

const steps = [
  ..."/../ /..%2f /..%2F /%2e%2e/ /%2E%2E/ /.%2e/ /%2e./ /./../ //../ /.//../ /%2e%2e%2f /..%2f%2e%2e/../".split(
    " ",
  ),
  ..."/..;/ /..;x=y/ /.;/ /%2e%2e;/ /..%3b/ /..\\ /..%5c /%5c..%5c /..%00/ /..%0d%0a/ /..%09/ /..%23/".split(
    " ",
  ),
  ..."/..%252f /%252e%252e/ /..%c0%af /..%ef%bc%8f /..%e2%88%95 /%c0%ae%c0%ae/ /..%u2215 /..?/ /..#/ /..%3f/".split(
    " ",
  ),
];
const spellings = [
  ..."/admin /admin/ //admin /./admin /%61dmin /%61%64%6d%69%6e /adm%69n /admin/. /admin/./ /admin/x/.. /x/../admin".split(
    " ",
  ),
  ..."/admin? /admin?x /admin# /admin%2f /admin%2F /admin%2fx /admin%00 /admin%20 /admin%09 /admin; /admin;x=y".split(
    " ",
  ),
  ..."/admin/x //admin//x /admin%2f..%2fadmin /.%2fadmin /%2fadmin /%2Fadmin%2Fx /admin%3fx /admin%23x /admin\\x".split(
    " ",
  ),
  ..."/a%20b/x /a+b/x /%61%20%62/x /a%2520b/x /v1/x/secret /v1/x/secret/y /v1/%2a/secret /v1/*/secret /v1/x%2fsecret".split(
    " ",
  ),
  ..."/v1/x//secret /v1/x/./secret/y /v1//x/secret /v1/x/secret%2fy /v1/a%2fb/secret /%2e/admin /%2e%2e/admin".split(
    " ",
  ),
];
const vectors = [
  ...spellings,
  ...steps.flatMap((step) => [`/public${step}admin`, `/public/x${step}..${step}admin`, `/open${step}admin`]),
  ...steps.map((step) => `/open/x${step}admin/read`),
];

test("there are enough of them", () => {
  expect(vectors.length).toBeGreaterThan(150);
});

for (const [callee, isBypass] of [
  ["denying", isAdmin],
  ["allowing", (path: string) => !isPublic(path)],
] as const) {
  test(`no spelling of a path gets by the policy of ${callee}`, async () => {
    const bypasses: string[] = [];
    for (const vector of vectors) {
      for (const form of [`/v1.0/invoke/${callee}/method`, ""] as const) {
        seen.length = 0;
        const status = await raw(form + vector, form === "" ? `dapr-app-id: ${callee}\r\n` : "");
        const got = seen.flatMap(readings);
        if (got.some(isBypass)) bypasses.push(`${form}${vector} → ${seen.join(" ")} (${status})`);
      }
    }
    expect(bypasses).toEqual([]);
  }, 60_000);
}

test("what is allowed gets through, or the vectors would prove nothing", async () => {
  for (const [callee, path] of [
    ["denying", "/public/x"],
    ["allowing", "/public/x/../y"],
    ["allowing", "/open/x/read"],
  ]) {
    expect(await raw(`/v1.0/invoke/${callee}/method${path}`)).toBe(200);
  }
  expect(await raw("/v1.0/invoke/denying/method/admin")).toBe(403);
  expect(await raw("/v1.0/invoke/allowing/method/admin")).toBe(403);
});
