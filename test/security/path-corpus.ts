// Spellings by which paths got past policies elsewhere: Envoy CVE-2019-9901, 2021-29492, 2021-32779, 2025-46821,
// 2026-73551, 2026-73553; Consul CVE-2024-10005; Dapr CVE-2026-41491; Tomcat, Jetty, IIS, Spring.

const list = (text: string) => text.split("¦");

/** How `/admin/secret` may be written, seen from the root. */
const spellings = [
  ...list(
    "/admin/secret¦//admin/secret¦///admin//secret¦/./admin/secret¦/admin/./secret¦/admin//secret¦/admin/secret/",
  ),
  ...list(
    "/x/../admin/secret¦/x/y/../../admin/secret¦/../admin/secret¦/x/..//admin/secret¦/admin/x/../secret",
  ),
  ...list(
    "/%2e/admin/secret¦/x/%2e%2e/admin/secret¦/x/%2E%2E/admin/secret¦/x/.%2e/admin/secret¦/x/%2e./admin/secret",
  ),
  ...list(
    "/x%2f..%2fadmin/secret¦/x%2F%2e%2e%2Fadmin%2Fsecret¦/admin%2fsecret¦/%2fadmin/secret¦/%2Fadmin%2Fsecret",
  ),
  ...list(
    "/%61dmin/secret¦/%61%64%6d%69%6e/secret¦/admi%6e/secret¦/adm%69n/%73ecret¦/%41dmin/secret¦/ADMIN/secret¦/Admin/Secret",
  ),
  ...list(
    "/x/..;/admin/secret¦/x/..;a=b/admin/secret¦/x/.;/../admin/secret¦/;/admin/secret¦/admin;x/secret¦/admin;/secret",
  ),
  ...list(
    "/x/%2e%2e;/admin/secret¦/x/..%3b/admin/secret¦/x;/..;/admin/secret¦/admin;a=b;c/secret¦/x/..;%2fadmin/secret",
  ),
  ...list(
    "/x/..%5cadmin/secret¦/x%5c..%5cadmin/secret¦/admin%5csecret¦/%5cadmin/secret¦/x\\..\\admin\\secret¦/\\admin/secret",
  ),
  ...list(
    "/admin/secret?x¦/admin/secret?/../x¦/admin/secret?%2e%2e/x¦/x?/../admin/secret¦/admin%3fsecret¦/admin/secret%3fx",
  ),
  ...list(
    "/admin%23secret¦/admin/secret%23¦/x%23/../admin/secret¦/admin%00/secret¦/%00admin/secret¦/admin/secret%00",
  ),
  ...list(
    "/admin%0a/secret¦/admin%0d%0a/secret¦/admin%20/secret¦/%20admin/secret¦/admin%09/secret¦/admin./secret¦/admin%2e/secret",
  ),
  ...list(
    "/%252e%252e/admin/secret¦/x/%252e%252e/admin/secret¦/x%252f..%252fadmin/secret¦/%2561dmin/secret¦/admin%252fsecret",
  ),
  ...list(
    "/x/%c0%ae%c0%ae/admin/secret¦/x%c0%af..%c0%afadmin/secret¦/x/%e0%80%ae%e0%80%ae/admin/secret¦/x/%uff0e%uff0e/admin/secret",
  ),
  ...list(
    "/x/%ef%bc%8e%ef%bc%8e/admin/secret¦/%ef%bc%8fadmin/secret¦/%/admin/secret¦/admin/%¦/admin/secret%¦/%zz/../admin/secret",
  ),
  ...list(
    "/x/...//admin/secret¦/x/.../admin/secret¦/x/..../admin/secret¦/.admin/secret¦/admin/secret/.¦/admin/secret/..;/secret",
  ),
  ...list(
    "/*/secret¦/**/secret¦/admin*/secret¦/a{d}min/secret¦/adm\u00efn/secret¦/public/../admin/secret¦/public/%2e%2e/admin/secret",
  ),
  ...list(
    "/public/..;/admin/secret¦/public/..%2fadmin/secret¦/public%2f..%2fadmin%2fsecret¦/public/..%5cadmin/secret¦/public/x/../../admin/secret",
  ),
  ...list(
    "/public/.%2e/admin/secret¦/public/%2e%2e%2fadmin/secret¦/public;/../admin/secret¦/public/;/../../admin/secret¦/public//../admin/secret",
  ),
  ...list(
    "/public/..%00/admin/secret¦/public/..%23/admin/secret¦/public/..%3f/admin/secret¦/public/..%0a/admin/secret¦/public%5c..%5cadmin%5csecret",
  ),
];

export const pathVectors: readonly string[] = [...new Set(spellings)];

/** What the most forgiving server of one decoding makes of a path: parameters dropped, slashes of both kinds, no case. */
export function forgivingPath(target: string): string {
  const [path = ""] = target.split("?");
  const bytes = path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const kept: string[] = [];
  for (const part of bytes.split(/[/\\]/)) {
    const segment = part.replace(/;.*$/s, "");
    if (segment === "..") kept.pop();
    else if (segment !== "" && segment !== ".") kept.push(segment);
  }
  return `/${kept.join("/")}`.toLowerCase();
}

const pieces = list(
  "/¦//¦/¦/¦.¦..¦/../¦/./¦a¦b¦admin¦%2e¦%2E%2e¦%2f¦%2F¦%5c¦\\¦;x¦..;¦%¦%25¦%252e¦%00¦%0a¦%7f¦%23¦%3f¦?¦?q=/../¦%20¦+¦~¦:¦@¦*¦!¦é¦\xff¦%c0%af¦%C3%A9¦%41¦%zz¦(¦[¦%22¦'¦=¦&¦,¦$",
);

/** Paths put together at random, the same for the same seed. */
export function* generatedPaths(count: number, seed: number): Generator<string> {
  let state = seed;
  const next = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let i = 0; i < count; i++) {
    let path = "/";
    for (let left = 1 + next(9); left > 0; left--) path += pieces[next(pieces.length)] as string;
    yield Buffer.from(path, "utf8").toString("latin1");
  }
}
