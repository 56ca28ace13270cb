// sshd of the Debian release with SFTP, for the user who starts it. Its two keys: one without a passphrase, one with `secret`.
// Its password stands in files of the folder, which nss_wrapper shows to sshd instead of the machine's: no user is made.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Recipe } from "./recipe.ts";

const architecture = process.arch === "arm64" ? "aarch64" : "x86_64";
const nssWrapper = `/usr/lib/${architecture}-linux-gnu/libnss_wrapper.so`;
const password = "sesame";

export default {
  name: "openssh",
  debian: ["openssh-server", "libnss-wrapper", "openssl"],
  programs: ["sshd", "ssh-keygen", "openssl", nssWrapper],
  async launch({ folder, port, options, program, run, isRoot }) {
    const at = (name: string): string => join(folder, name);
    const makeKey = (name: string, passphrase: string): Promise<void> =>
      run(program("ssh-keygen"), ["-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", at(name)]);
    await makeKey("host", "");
    await makeKey("user", "");
    await makeKey("locked", "secret");
    writeFileSync(
      at("authorized"),
      readFileSync(at("user.pub"), "utf8") + readFileSync(at("locked.pub"), "utf8"),
    );
    const hostKey = readFileSync(at("host.pub"), "utf8").trim();
    writeFileSync(at("known_hosts"), `[127.0.0.1]:${port} ${hostKey}\n`);
    copyFileSync(at("known_hosts"), at("hashed_hosts"));
    await run(program("ssh-keygen"), ["-H", "-f", at("hashed_hosts")]);
    mkdirSync(at("files"));
    // Where it gives up its rights.
    if (isRoot) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
    const settings = {
      ...{ Port: String(port), ListenAddress: "127.0.0.1", HostKey: at("host"), PidFile: "none" },
      ...{ AuthorizedKeysFile: at("authorized"), StrictModes: "no", UsePAM: "no", MaxStartups: "100" },
      ...{ PermitRootLogin: "yes", Subsystem: "sftp internal-sftp" },
      ...options,
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} ${value}`);
    writeFileSync(at("sshd_config"), `${lines.join("\n")}\n`);
    return {
      command: program("sshd"),
      args: ["-D", "-e", "-f", at("sshd_config")],
      env: usersIn(at),
      details: {
        ...{ username: userName(), password, files: at("files"), hostPublicKey: hostKey },
        ...{ keyFile: at("user"), lockedKeyFile: at("locked") },
        ...{ knownHostsFile: at("known_hosts"), hashedHostsFile: at("hashed_hosts") },
      },
    };
  },
} satisfies Recipe;

/** The machine's users, of whom the one has the password. */
function usersIn(at: (name: string) => string): Record<string, string> {
  writeFileSync(at("passwd"), printed("getent", "passwd"));
  writeFileSync(at("group"), printed("getent", "group"));
  const hash = printed("openssl", "passwd", "-6", password).trim();
  writeFileSync(at("shadow"), `${userName()}:${hash}:19000:0:99999:7:::\n`, { mode: 0o600 });
  return {
    LD_PRELOAD: nssWrapper,
    NSS_WRAPPER_PASSWD: at("passwd"),
    NSS_WRAPPER_GROUP: at("group"),
    NSS_WRAPPER_SHADOW: at("shadow"),
  };
}

/** Bun's userInfo() goes by the environment. */
function userName(): string {
  return printed("id", "-un").trim();
}

function printed(command: string, ...args: string[]): string {
  return spawnSync(command, args, { encoding: "utf8" }).stdout;
}
