import type { Recipe } from "./recipe.ts";

/** The HTTP load generator of the benches: it costs less than what it measures. */
export default { name: "wrk", debian: ["wrk"], programs: ["wrk"] } satisfies Recipe;
