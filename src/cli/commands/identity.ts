import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Authority, issueWorkload, skewDefaultMs } from "../../control/identity/authority.ts";
import { readCertificate } from "../../control/identity/certificate.ts";
import { formatSpiffeId } from "../../control/identity/spiffe-id.ts";
import { realClock } from "../../edges/clock.ts";
import { isShared, openStore } from "../../engine/store/open.ts";
import { openAuthority } from "../../host/identity.ts";
import { parseDuration } from "../../kit/duration.ts";
import { type CommandContext, command } from "../command.ts";
import { type FlagValues, UsageError } from "../flags.ts";
import { CommandError, dataFolderOf } from "../runtime-client.ts";
import { storeFlag } from "../runtime-flags.ts";

export default command({
  name: "identity",
  category: "data",
  summary: "The authority behind mTLS between runtimes: its roots, certificates of it, rotation",
  usage: "mecha identity init | show | bundle | issue APP | rotate [--finish] [-o json]",
  flags: [
    {
      name: "data-dir",
      type: "text",
      default: "",
      description: "data folder (default: $MECHA_HOME or ~/.mecha)",
    },
    storeFlag,
    {
      name: "output",
      short: "o",
      type: "text",
      default: "text",
      choices: ["text", "json"],
      description: "how to print",
    },
    { name: "out", type: "text", default: ".", description: "issue: the folder for the three files" },
    { name: "namespace", type: "text", default: "default", description: "issue: of the app" },
    { name: "trust-domain", type: "text", default: "public", description: "issue: of the app" },
    { name: "ttl", type: "text", default: "24h", description: "issue: how long the certificate is valid" },
    { name: "after", type: "text", default: "60s", description: "rotate: when the new root begins to sign" },
    { name: "finish", type: "boolean", default: false, description: "rotate: trust the old roots no more" },
    {
      name: "grace",
      type: "text",
      default: "60s",
      description: "rotate --finish: how long the new root must have signed",
    },
  ],
  examples: [
    "mecha identity show",
    "mecha identity issue orders --out ./certs",
    "mecha identity rotate   (and two minutes later)   mecha identity rotate --finish",
  ],
  async run(context) {
    const [verb = "show", app] = context.positionals;
    const work = verbs[verb];
    if (work === undefined) throw new UsageError("say init, show, bundle, issue APP or rotate");
    const { authority, close } = await open(context);
    try {
      const { data, text } = await work(authority, context.values, app);
      context.out(context.values.text("output") === "json" ? `${JSON.stringify(data)}\n` : text);
      return 0;
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new CommandError((error as Error).message);
    } finally {
      await close();
    }
  },
});

interface Printed {
  data: object;
  text: string;
}

type Verb = (authority: Authority, values: FlagValues, app: string | undefined) => Promise<Printed>;

const verbs: Readonly<Record<string, Verb>> = {
  async init(authority) {
    await authority.open();
    return shown(authority);
  },
  show: shown,
  async bundle(authority) {
    const view = await found(authority);
    const bundle = view.roots.map(({ pair }) => pair.cert).join("");
    return { data: { bundle }, text: bundle };
  },
  issue,
  async rotate(authority, values) {
    if (values.boolean("finish")) await authority.dropOldRoots(duration(values, "grace"));
    else await authority.addRoot(duration(values, "after"));
    return shown(authority);
  },
};

/** The authority, with the store that it may be in. */
async function open(context: CommandContext): Promise<{ authority: Authority; close(): Promise<void> }> {
  const dataFolder = dataFolderOf(context);
  const address = context.values.text("store") || context.env.MECHA_STORE || undefined;
  const clock = realClock;
  if (!isShared(address)) {
    const authority = openAuthority({ isShared: false, dataFolder, clock, env: context.env });
    return { authority, close: async () => undefined };
  }
  const store = await openStore({ address, folder: dataFolder });
  const authority = openAuthority({ isShared: true, store, dataFolder, clock, env: context.env });
  return { authority, close: () => store.close() };
}

async function found(authority: Authority) {
  const view = await authority.find();
  if (view === undefined)
    throw new Error(`there is no authority at ${authority.place} yet: mecha identity init`);
  return view;
}

async function shown(authority: Authority): Promise<Printed> {
  const view = await found(authority);
  const roots = view.roots.map(({ certificate, pair, signsFromMs }) => ({
    fingerprint: certificate.fingerprint,
    notBefore: new Date(certificate.notBeforeMs).toISOString(),
    notAfter: new Date(certificate.notAfterMs).toISOString(),
    signs: pair.cert === view.signer.cert,
    ...(signsFromMs > realClock.now() && { signsFrom: new Date(signsFromMs).toISOString() }),
  }));
  const lines = roots.map(({ fingerprint, notAfter, signs, signsFrom }) => {
    const role = signs ? "signs" : signsFrom === undefined ? "trusted" : `signs from ${signsFrom}`;
    return `${fingerprint}  until ${notAfter}  ${role}\n`;
  });
  return { data: { place: authority.place, roots }, text: `${authority.place}\n${lines.join("")}` };
}

async function issue(authority: Authority, values: FlagValues, app: string | undefined): Promise<Printed> {
  if (app === undefined) throw new UsageError("say for which app: mecha identity issue APP");
  const view = await found(authority);
  const namespace = values.text("namespace");
  const uri = formatSpiffeId({ trustDomain: values.text("trust-domain"), namespace, appId: app });
  const lifeMs = duration(values, "ttl");
  const pair = issueWorkload(view, { uri, nowMs: realClock.now(), lifeMs, skewMs: skewDefaultMs });
  const folder = resolve(values.text("out"));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const [cert, key, ca] = [`${app}.crt`, `${app}.key`, "bundle.pem"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(key, pair.key, { mode: 0o600 });
  writeFileSync(cert, pair.cert);
  writeFileSync(ca, view.roots.map((root) => root.pair.cert).join(""));
  const notAfter = new Date(readCertificate(pair.cert).notAfterMs).toISOString();
  const data = { id: uri, notAfter, cert, key, ca };
  return { data, text: `${uri} until ${notAfter}\n${cert}\n${key}\n${ca}\n` };
}

function duration(values: FlagValues, name: string): number {
  try {
    return parseDuration(values.text(name));
  } catch (error) {
    throw new UsageError(`invalid argument for --${name}: ${(error as Error).message}`, "like 60s, 24h");
  }
}
