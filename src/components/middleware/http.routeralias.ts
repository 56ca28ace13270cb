import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import type { HttpMiddleware } from "../../component/http-middleware.ts";
import { changedRequest } from "../../net/http1/changed-request.ts";

export default component({
  type: "middleware.http.routeralias",
  version: "v1",
  status: "alpha",
  summary: "Other paths for calls of the API: the variables of a path become query parameters",
  metadata: {
    routes: text({ description: "JSON or YAML map of path to path; without it each field is such a pair" }),
  },
  takesOtherFields: true,
  async open({ routes }, { otherFields = new Map() }): Promise<HttpMiddleware> {
    const pairs = routes === undefined ? [...otherFields] : await readRoutes(routes);
    const aliases = pairs.map(([path, target]) => aliasOf(path, target));
    return {
      handle(request, next) {
        const queryAt = request.target.indexOf("?");
        const path = queryAt < 0 ? request.target : request.target.slice(0, queryAt);
        for (const { pattern, names, target } of aliases) {
          const found = pattern.exec(path);
          if (found === null) continue;
          const query = new URLSearchParams(queryAt < 0 ? "" : request.target.slice(queryAt + 1));
          for (const [index, name] of names.entries()) query.append(name, decoded(found[index + 1] ?? ""));
          const text = query.toString();
          return next(changedRequest(request, { target: text === "" ? target : `${target}?${text}` }));
        }
        return next(request);
      },
      async close() {},
    };
  },
});

async function readRoutes(routes: string): Promise<[string, string][]> {
  const { parse } = await import("yaml");
  const map: unknown = parse(routes);
  if (typeof map !== "object" || map === null || Array.isArray(map))
    throw new Error("routes must be a map of path to path, as JSON or YAML");
  return Object.entries(map).map(([path, target]) => [path, String(target)]);
}

/** `{name}` is one segment, `{name:regex}` what the expression says, as in Dapr's router. */
function aliasOf(path: string, target: string): { pattern: RegExp; names: string[]; target: string } {
  if (!path.startsWith("/") || !target.startsWith("/"))
    throw new Error(`routes: both paths begin with a slash, got ${path} and ${target}`);
  const names: string[] = [];
  const parts = path.split(/(\{[^{}]*\})/).map((part) => {
    if (!part.startsWith("{")) return part.replace(/[\\^$.|?*+()[\]{}]/g, "\\$&");
    const [name = "", expression] = part.slice(1, -1).split(/:(.*)/s);
    names.push(name);
    return `(${expression === undefined ? "[^/]+" : expression.replace(/\((?!\?)/g, "(?:")})`;
  });
  return { pattern: new RegExp(`^${parts.join("")}$`), names, target };
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
