import { expect, test } from "bun:test";
import { resultsIn } from "../../scripts/component-results.ts";

test("results are counted by file, and those that bun repeats in the end are not counted twice", () => {
  const log = `bun test v1.4.5

test/contract/a.test.ts:
(pass) one [1ms]
said (pass) by a test
error: 1 is not 2
(fail) two [2ms]

test/contract/b.test.ts:
(pass) three

1 tests failed:
(fail) two [2ms]

 2 pass
 1 fail
`;
  expect([...resultsIn(log)]).toEqual([
    ["test/contract/a.test.ts", { passed: 1, failed: 1 }],
    ["test/contract/b.test.ts", { passed: 1, failed: 0 }],
  ]);
});
