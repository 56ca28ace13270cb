import { type ChildProcess, spawn } from "node:child_process";

/**
 * Kills a process group when nobody has said in time that it may go on. It reads seconds, one a line, and each counts
 * anew; at the end of its input it kills at once.
 */
const leaseScript = `
sleeper=
while read -r seconds; do
  [ -n "$sleeper" ] && kill -s KILL "$sleeper" 2>/dev/null
  { sleep "$seconds"; kill -s KILL -- "-$1"; kill -s KILL "$$"; } 2>/dev/null &
  sleeper=$!
done
kill -s KILL -- "-$1" 2>/dev/null
[ -n "$sleeper" ] && kill -s KILL "$sleeper" 2>/dev/null
`;

/**
 * Reads the number of a process group and ends the group at the end of its input: TERM, then KILL after so many tenths
 * of a second.
 */
const parentScript = `
read -r group || exit
while read -r _; do :; done
kill -s TERM -- "-$group" 2>/dev/null
left=$1
while [ "$left" -gt 0 ] && kill -s 0 -- "-$group" 2>/dev/null; do
  sleep 0.1
  left=$((left - 1))
done
kill -s KILL -- "-$group" 2>/dev/null
`;

/**
 * A shell beside a process group that outlives the runtime, because it has to act when that is stopped or killed, and
 * costs a megabyte only. The end of the runtime, however it comes, is the end of the pipe that the shell reads.
 */
class GroupGuard {
  readonly #shell: ChildProcess;

  constructor(script: string, words: readonly string[]) {
    this.#shell = spawn("/bin/sh", ["-c", script, "mecha-guard", ...words], {
      // A group of its own: it outlives the terminal's signals and the runtime.
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
      env: { PATH: "/usr/bin:/bin" },
    });
    this.#shell.on("error", () => undefined);
    this.#shell.stdin?.on("error", () => undefined);
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

  protected say(line: string): void {
    this.#shell.stdin?.write(`${line}\n`);
  }
}

/** Ends an app with the lease it was started under, whatever becomes of the runtime. */
export class LeaseGuard extends GroupGuard {
  constructor(groupId: number, validForMs: number) {
    super(leaseScript, [String(groupId)]);
    this.renew(validForMs);
  }

  renew(validForMs: number): void {
    this.say((Math.max(0, validForMs) / 1000).toFixed(3));
  }
}

/** Ends an app with the runtime that started it, when that could not do it itself. It is there before the app. */
export class ParentGuard extends GroupGuard {
  constructor(stopTimeoutMs: number) {
    super(parentScript, [String(Math.ceil(stopTimeoutMs / 100))]);
  }

  guard(groupId: number): void {
    this.say(String(groupId));
  }
}
