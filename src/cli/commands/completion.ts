import { command } from "../command.ts";
import { commands } from "../commands.ts";
import { UsageError } from "../flags.ts";

export default command({
  name: "completion",
  category: "other",
  summary: "Print the completion script of a shell",
  usage: "mecha completion bash | zsh | fish",
  flags: [],
  examples: ["source <(mecha completion bash)"],
  async run(context) {
    const [shell] = context.positionals;
    const words = await commandWords();
    if (shell === "bash") context.out(bash(words));
    else if (shell === "zsh") context.out(`autoload -U +X bashcompinit && bashcompinit\n${bash(words)}`);
    else if (shell === "fish") context.out(fish(words));
    else
      throw new UsageError(
        shell === undefined ? "say for which shell" : `unknown shell "${shell}"`,
        "bash, zsh or fish",
      );
    return 0;
  },
});

/** Command → its flags. */
async function commandWords(): Promise<Map<string, { summary: string; flags: string[] }>> {
  const words = new Map<string, { summary: string; flags: string[] }>();
  for (const load of Object.values(commands)) {
    const { default: each } = await load();
    const flags = each.flags.filter((flag) => !flag.hidden).map((flag) => flag.name);
    words.set(each.name, { summary: each.summary, flags });
  }
  return words;
}

function bash(words: ReadonlyMap<string, { flags: string[] }>): string {
  const cases = [...words].map(
    ([name, { flags }]) => `    ${name}) words="${flags.map((flag) => `--${flag}`).join(" ")}" ;;`,
  );
  return `_mecha() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then words="${[...words.keys()].join(" ")}"; else case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _mecha mecha
`;
}

function fish(words: ReadonlyMap<string, { summary: string; flags: string[] }>): string {
  const lines = [...words].flatMap(([name, { summary, flags }]) => [
    `complete -c mecha -n __fish_use_subcommand -a ${name} -d '${summary.replace(/'/g, "")}'`,
    ...flags.map((flag) => `complete -c mecha -n '__fish_seen_subcommand_from ${name}' -l ${flag}`),
  ]);
  return `${lines.join("\n")}\n`;
}
