/** How to get and start one server or tool for tests and benches. A file of this folder each. */
export interface Recipe {
  name: string;
  /** Debian packages. */
  debian?: string[];
  /** npm packages with exact versions, installed into a folder of their own. */
  npm?: string[];
  /** PyPI packages with exact versions, in a virtual environment of their own. */
  python?: string[];
  /**
   * Maven coordinates `group:artifact:version`, with all they need, in a folder of jars; `group:artifact:version:classifier`
   * is that jar alone.
   */
  maven?: string[];
  /** A program built from the source of a Go module, with files that its release process would have added. */
  go?: { module: string; command: string; files: Record<string, string> };
  /** Programs that must be there afterwards; when all are, nothing is installed. */
  programs?: string[];
  /** Makes the folder ready and says what to start. Absent for a mere tool. */
  launch?(context: LaunchContext): Promise<Launch>;
}

export interface LaunchContext {
  /** A private, empty folder. */
  folder: string;
  /** The loopback port to listen on. */
  port: number;
  /** More free ports, for servers that need several. */
  freePort(): Promise<number>;
  /** What the caller asked for beyond the defaults; the recipe says which names it knows. */
  options: Readonly<Record<string, string>>;
  /** The absolute path of a program. */
  program(name: string): string;
  /** Where the npm packages, the Python environment, the jars and what Go built (`program`) are. */
  packages: { npm: string; python: string; maven: string; go: string };
  /** Runs a program to its end. */
  run(command: string, args: string[], env?: Record<string, string>): Promise<void>;
  isRoot: boolean;
}

export interface Launch {
  command: string;
  args: string[];
  env?: Record<string, string>;
  /** The user to become when started by root, for servers that refuse root. */
  user?: string;
  /** Whether it serves; by default, whether its port accepts a connection. */
  isReady?(): Promise<boolean>;
  /** What else the caller may want to know: more ports, a password. */
  details?: Record<string, string | number>;
}
