// memcached of the Debian release. Options: its flags of a letter, such as `I` (largest item) with `4m`.
import type { Recipe } from "./recipe.ts";

export default {
  name: "memcached",
  debian: ["memcached"],
  programs: ["memcached"],
  async launch({ port, options, program, isRoot }) {
    const flags = Object.entries(options).flatMap(([letter, value]) => [`-${letter}`, value]);
    return {
      command: program("memcached"),
      args: [...(isRoot ? ["-u", "root"] : []), "-l", "127.0.0.1", "-p", String(port), "-m", "64", ...flags],
    };
  },
} satisfies Recipe;
