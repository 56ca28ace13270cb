/** The words that start this very program again: the compiled executable, or Bun with its flags and the entry file. */
export function selfCommand(): string[] {
  const isCompiled = Bun.main.startsWith("/$bunfs/") || Bun.main.includes("~BUN");
  return isCompiled ? [process.execPath] : [process.execPath, ...process.execArgv, Bun.main];
}
