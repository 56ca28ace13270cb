import type { SourcePosition } from "./resource.ts";

/** One thing wrong in a resource file, or of no effect. */
export interface Problem {
  severity: "error" | "warning";
  /** Names the field and its value, and says what would be right. */
  message: string;
  source: SourcePosition;
}

/** Resources that can not be used: every error of every file at once. */
export class ResourceErrors extends Error {
  readonly problems: readonly Problem[];
  constructor(problems: readonly Problem[]) {
    super(problems.map(formatProblem).join("\n"));
    this.name = "ResourceErrors";
    this.problems = problems;
  }
}

/** `components/redis.yaml:7:5: message`, as editors and terminals link it. */
export function formatProblem({ message, source: { file, line, column } }: Problem): string {
  return `${file}:${line}:${column}: ${message}`;
}
