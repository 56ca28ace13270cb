import { runSidecar, waitUntilOutboundReady } from "../../host/sidecar.ts";
import { buildInfo, daprApiVersion } from "../../host/version.ts";
import { command } from "../command.ts";
import type { Flag } from "../flags.ts";
import { runtimeFlags, runtimeOptions, storeFlag } from "../runtime-flags.ts";

const ownFlags: readonly Flag[] = [
  storeFlag,
  {
    name: "mode",
    type: "text",
    default: "standalone",
    choices: ["standalone", "kubernetes"],
    description: "runtime mode",
  },
  { name: "sentry-address", type: "text", default: "", description: "accepted for compatibility" },
  {
    name: "sentry-request-jwt-audiences",
    type: "list",
    default: [],
    description: "accepted for compatibility",
  },
  { name: "control-plane-address", type: "text", default: "", description: "accepted for compatibility" },
  {
    name: "control-plane-trust-domain",
    type: "text",
    default: "localhost",
    description: "accepted for compatibility",
  },
  {
    name: "control-plane-namespace",
    type: "text",
    default: "default",
    description: "accepted for compatibility",
  },
  {
    name: "disable-builtin-k8s-secret-store",
    type: "boolean",
    default: false,
    description: "accepted for compatibility",
  },
  {
    name: "wait",
    type: "boolean",
    default: false,
    description: "wait until a runtime answers on the HTTP port, then end",
  },
  { name: "version", type: "boolean", default: false, description: "print the version" },
  { name: "build-info", type: "boolean", default: false, description: "print how it was built" },
  {
    name: "data-dir",
    type: "text",
    default: "",
    description: "data folder (default: $MECHA_HOME or ~/.mecha)",
  },
];

export default command({
  name: "daprd",
  category: "run",
  summary: "Run as a drop-in for daprd: its flags, its log lines, nothing implicit",
  usage: "mecha daprd --app-id APP [flags of daprd]",
  flags: [...runtimeFlags, ...ownFlags],
  examples: ["mecha daprd --app-id orders --app-port 8080 --resources-path ./resources"],
  async run(context) {
    const { values } = context;
    if (values.boolean("version")) return print(context.out, daprApiVersion);
    if (values.boolean("build-info")) return print(context.out, buildInfo());
    const options = { ...runtimeOptions(values, context.env), isStrict: true };
    if (values.boolean("wait")) return waitUntilOutboundReady(options.httpPort);
    return runSidecar({
      options,
      env: context.env,
      dataFolder: values.text("data-dir") || undefined,
      store: values.text("store") || undefined,
      write: context.out,
      refusals: refusals(values),
    });
  },
});

/** Flags that ask for what is not there: said by name, never ignored in silence. */
function refusals(values: { text(name: string): string }): string[] {
  const found: string[] = [];
  if (values.text("mode") === "kubernetes") found.push("mode kubernetes is not implemented: use standalone");
  return found;
}

function print(out: (text: string) => void, text: string): number {
  out(`${text}\n`);
  return 0;
}
