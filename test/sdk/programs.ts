// The program of each SDK, made ready to run.
import { join } from "node:path";
import { execute } from "../../scripts/build-once.ts";
import type { SdkProgram } from "./harness.ts";
import { cargoBuild, goBuild, javaProgram, pythonVenv } from "./toolchain.ts";

const rolesOf = (command: (role: string) => string[]) => ({
  http: command("http"),
  grpc: command("grpc"),
  client: command("client"),
});

const javascriptRoles = () =>
  rolesOf((role) => ["node", join(import.meta.dirname, "javascript/program.mjs"), role]);

/** By the name of the SDK. `scratch`: a folder for what is generated. */
export const sdkPrograms = {
  async JavaScript(): Promise<SdkProgram> {
    const folder = join(import.meta.dirname, "javascript");
    return { language: "javascript", roles: javascriptRoles(), folder };
  },
  async Go(): Promise<SdkProgram> {
    const folder = join(import.meta.dirname, "go");
    const program = await goBuild(folder);
    return { language: "go", roles: rolesOf((role) => [program, role]), folder, appHealthCheck: true };
  },
  async Python(scratch: string): Promise<SdkProgram> {
    const folder = join(import.meta.dirname, "python");
    const python = await pythonVenv(join(folder, "requirements.txt"));
    const outputs = [`--python_out=${scratch}`, `--grpc_python_out=${scratch}`];
    const words = ["-m", "grpc_tools.protoc", `-I${import.meta.dirname}`, ...outputs, "greeter.proto"];
    await execute(python, words, { cwd: import.meta.dirname, log: (text) => process.stderr.write(text) });
    return {
      language: "python",
      roles: rolesOf((role) => [python, join(folder, "program.py"), role]),
      folder,
      env: { PYTHONPATH: scratch, PYTHONDONTWRITEBYTECODE: "1" },
      resources: [join(folder, "subscriptions.yaml")],
      appHealthCheck: true,
    };
  },
  async Java(): Promise<SdkProgram> {
    const start = await javaProgram(join(import.meta.dirname, "java"));
    return { language: "java", roles: rolesOf((role) => [...start, role]), appHealthCheck: true };
  },
  async Rust(): Promise<SdkProgram> {
    const program = await cargoBuild(join(import.meta.dirname, "rust"));
    // The HTTP server of the SDK is for actors alone: the app of the JavaScript SDK stands in.
    const roles = { ...rolesOf((role) => [program, role]), http: javascriptRoles().http };
    return { language: "rust", roles };
  },
};

export type SdkName = keyof typeof sdkPrograms;
