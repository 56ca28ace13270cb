import { type ChildProcess, spawn } from "node:child_process";

/**
 * Kills a process group when nobody has said in time that it may go on. It reads seconds, one a line, and each counts
 * anew; at the end of its input it kills at once. A shell, because it has to act when this process is stopped or
 * killed, and to cost a megabyte only.
 */
const script = `
sleeper=
while read -r seconds; do
  [ -n "$sleeper" ] && kill -s KILL "$sleeper" 2>/dev/null
  { sleep "$seconds"; kill -s KILL -- "-$1"; kill -s KILL "$$"; } 2>/dev/null &
  sleeper=$!
done
kill -s KILL -- "-$1" 2>/dev/null
[ -n "$sleeper" ] && kill -s KILL "$sleeper" 2>/dev/null
`;

/** Ends an app with the lease it was started under, whatever becomes of the runtime. */
export class LeaseGuard {
  readonly #shell: ChildProcess;

  constructor(groupId: number, validForMs: number) {
    this.#shell = spawn("/bin/sh", ["-c", script, "mecha-lease-guard", String(groupId)], {
      // A group of its own: it outlives the terminal's signals and the runtime.
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
      env: { PATH: "/usr/bin:/bin" },
    });
    this.#shell.on("error", () => undefined);
    this.#shell.stdin?.on("error", () => undefined);
    this.renew(validForMs);
  }

  renew(validForMs: number): void {
    this.#shell.stdin?.write(`${(Math.max(0, validForMs) / 1000).toFixed(3)}\n`);
  }

  /** The group has ended by itself. */
  end(): void {
    const { pid } = this.#shell;
    if (pid === undefined) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // ESRCH: it is gone, as what it guarded.
    }
  }
}
