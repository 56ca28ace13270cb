import { describe, expect, test } from "bun:test";
import { conclude, parseCounts, plan, readArguments, relevant } from "../../scripts/runner.mjs";

const suites = [
  { name: "contract", files: ["test/house"], timeoutS: 1 },
  { name: "types", command: ["tsc"], timeoutS: 1 },
  { name: "none", files: ["test/not-there"], timeoutS: 1 },
];

function planned(line: string) {
  return plan(suites, readArguments(line.split(" ").filter(Boolean), suites));
}

describe("plan()", () => {
  test("takes every suite and says which has no tests", () => {
    const jobs = planned("");
    expect(jobs.map((job: { name: string }) => job.name)).toEqual(["contract", "types", "none"]);
    expect(jobs[2]?.skipped).toBe("no test file in test/not-there");
  });

  test("takes the files that a word names", () => {
    const [job, ...others] = planned("runner");
    expect(job?.command.slice(-1)).toEqual(["./test/house/runner.test.ts"]);
    expect(others).toEqual([]);
  });

  test("takes the files of each word", () => {
    const files = planned("contract runner services")[0]?.command.slice(-2);
    expect(files).toEqual(["./test/house/runner.test.ts", "./test/house/services.test.ts"]);
  });

  test("takes a word that is in no file name for the name of a test", () => {
    expect(planned("contract state.redis")[0]?.command).toContain("state\\.redis");
  });

  test("hands flags to bun test and settings to the tests", () => {
    const { bunFlags, env } = readArguments(["--bail", "--rounds", "500", "--seed=7", "-t", "a b"], suites);
    expect(bunFlags).toEqual(["--bail", "-t", "a b"]);
    expect(env).toEqual({ MECHA_TEST_ROUNDS: "500", MECHA_TEST_SEED: "7" });
  });
});

describe("parseCounts()", () => {
  test("adds up bun's summary and other suites' own lines", () => {
    const output = " 5 pass\n 1 skip\n 2 fail\n 1 error\nRan 8 tests\n3 passed, 1 failed, 4 skipped\n";
    expect(parseCounts(output)).toEqual({ passed: 8, failed: 4, skipped: 5 });
  });
});

describe("relevant()", () => {
  test("keeps what belongs to a failed test, however much comes after it", () => {
    const fine = Array.from({ length: 300 }, (_, index) => [
      `said by ${index}`,
      `(pass) test ${index}`,
    ]).flat();
    const failed = ["said before", "error: 1 is not 2", "(fail) adds"];
    const end = [
      "1 tests failed:",
      "(fail) adds",
      " 600 pass",
      " 1 fail",
      "Ran 601 tests across 2 files. [1s]",
    ];
    const kept = relevant([...fine, ...failed, ...fine, ...end].join("\n"));
    expect(kept.slice(0, 3)).toEqual(failed);
    expect(kept).not.toContain("said by 7");
    expect(kept.at(-1)).toBe("Ran 601 tests across 2 files. [1s]");
  });

  test("keeps the end when no test failed by name", () => {
    const lines = Array.from({ length: 500 }, (_, index) => `line ${index}`);
    expect(relevant(lines.join("\n")).slice(-2)).toEqual(["line 498", "line 499"]);
  });
});

describe("conclude()", () => {
  function concluded(...results: Parameters<typeof conclude>[0]) {
    const lines: string[] = [];
    return { code: conclude(results, (line: string) => void lines.push(line)), lines };
  }
  const result = { name: "unit", passed: 3, failed: 0, skipped: 0, reasons: [] as string[] };

  test("ends with the one line and fails when anything failed", () => {
    const { code, lines } = concluded(result, { ...result, name: "fault", failed: 2 });
    expect(lines.at(-1)).toBe("6 passed, 2 failed");
    expect(code).toBe(1);
  });

  test("gives the reason of what was skipped", () => {
    const { code, lines } = concluded(result, {
      ...result,
      name: "sdk",
      passed: 0,
      skipped: 1,
      reasons: ["no Java"],
    });
    expect(lines).toEqual(["skipped sdk: no Java", "3 passed, 0 failed"]);
    expect(code).toBe(0);
  });

  test("fails when nothing ran", () => {
    expect(concluded({ ...result, passed: 0 }).code).toBe(1);
  });
});
