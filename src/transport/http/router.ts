/** A route and the raw values of its parameters, in the order of the pattern. */
export interface Match<T> {
  route: T;
  values: string[];
}

interface Leaf<T> {
  byVerb: Map<string, T>;
  any: T | undefined;
}

interface Node<T> {
  /** Few: a look at the first character rules most of them out, and no segment is cut out of the path. */
  children: { segment: string; first: number; node: Node<T> }[];
  parameter: Node<T> | undefined;
  /** Ends here. */
  leaf: Leaf<T> | undefined;
  /** Takes what is left of the path. */
  rest: Leaf<T> | undefined;
}

/**
 * Finds the route of a path: literal segments before parameters before `{rest...}`, going back when a branch leads
 * nowhere. Works on the path as it was sent, percent signs and all, so what is judged is what is dispatched.
 */
export class Router<T> {
  readonly #root: Node<T> = node();

  add(verbs: readonly string[] | "any", pattern: string, route: T): void {
    let at = this.#root;
    for (const segment of pattern.slice(1).split("/")) {
      if (segment.endsWith("...}")) {
        at.rest = put(at.rest, verbs, route);
        return;
      }
      at = segment.startsWith("{") ? parameterOf(at) : childOf(at, segment);
    }
    at.leaf = put(at.leaf, verbs, route);
  }

  /** `path` is clean and without a query. */
  find(verb: string, path: string): Match<T> | undefined {
    const values: string[] = [];
    const route = match(this.#root, verb, path, 1, 0, values);
    return route === undefined ? undefined : { route, values };
  }
}

/** The names of a pattern's parameters in order: `/state/{store}/{rest...}` → `store`, `rest`. */
export function parameterNames(pattern: string): string[] {
  return Array.from(pattern.matchAll(/\{(\w+)(?:\.\.\.)?\}/g), ([, name]) => name as string);
}

/** As Go's `path.Clean`: empty, `.` and `..` segments and the trailing slash go away. */
export function cleanPath(path: string): string {
  if (path.startsWith("/") && isClean(path)) return path;
  const kept: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "..") kept.pop();
    else if (segment !== "" && segment !== ".") kept.push(segment);
  }
  return `/${kept.join("/")}`;
}

function isClean(path: string): boolean {
  if (path.length === 1) return true;
  return path.charCodeAt(path.length - 1) !== 47 && !path.includes("//") && !path.includes("/.");
}

function match<T>(
  at: Node<T>,
  verb: string,
  path: string,
  from: number,
  depth: number,
  values: string[],
): T | undefined {
  if (from > path.length) {
    values.length = depth;
    return pick(at.leaf, verb);
  }
  const slash = path.indexOf("/", from);
  const end = slash < 0 ? path.length : slash;
  const child = childAt(at, path, from, end);
  const byChild = child && match(child, verb, path, end + 1, depth, values);
  if (byChild !== undefined) return byChild;
  if (at.parameter !== undefined && end > from) {
    const byParameter = match(at.parameter, verb, path, end + 1, depth + 1, values);
    if (byParameter !== undefined) {
      values[depth] = path.slice(from, end);
      return byParameter;
    }
  }
  const byRest = pick(at.rest, verb);
  if (byRest === undefined) return undefined;
  values.length = depth;
  values[depth] = path.slice(from);
  return byRest;
}

function childAt<T>({ children }: Node<T>, path: string, from: number, end: number): Node<T> | undefined {
  const first = path.charCodeAt(from);
  for (const child of children) {
    const isIt =
      child.first === first && child.segment.length === end - from && path.startsWith(child.segment, from);
    if (isIt) return child.node;
  }
  return undefined;
}

function pick<T>(leaf: Leaf<T> | undefined, verb: string): T | undefined {
  return leaf && (leaf.byVerb.get(verb) ?? leaf.any);
}

function put<T>(leaf: Leaf<T> | undefined, verbs: readonly string[] | "any", route: T): Leaf<T> {
  const kept = leaf ?? { byVerb: new Map<string, T>(), any: undefined };
  if (verbs === "any") kept.any = route;
  else for (const verb of verbs) kept.byVerb.set(verb, route);
  return kept;
}

function childOf<T>(at: Node<T>, segment: string): Node<T> {
  const known = at.children.find((child) => child.segment === segment);
  if (known !== undefined) return known.node;
  const added = { segment, first: segment.charCodeAt(0), node: node<T>() };
  at.children.push(added);
  return added.node;
}

function parameterOf<T>(at: Node<T>): Node<T> {
  at.parameter ??= node();
  return at.parameter;
}

function node<T>(): Node<T> {
  return { children: [], parameter: undefined, leaf: undefined, rest: undefined };
}
