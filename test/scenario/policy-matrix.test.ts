import { afterEach, describe, test } from "bun:test";
import { callBenches } from "../matrix/call-benches.ts";
import { type BlockName, blockNames, type PolicyRow, policyRows } from "../matrix/cells.ts";
import { componentBenches } from "../matrix/component-benches.ts";
import { engineBenches } from "../matrix/engine-benches.ts";
import { type Proof, proofs } from "../matrix/proofs.ts";
import { type Bench, openRig, type Rig } from "../matrix/rig.ts";

const benches = new Map<BlockName, Bench>(
  [...callBenches, ...componentBenches, ...engineBenches].map((bench) => [bench.block, bench]),
);

let rig: Rig | undefined;

afterEach(async () => {
  await rig?.stop();
  rig = undefined;
});

for (const row of policyRows as readonly PolicyRow[]) {
  describe(row.name, () => {
    const proof: Proof = proofs[row.name as keyof typeof proofs];
    for (const block of blockNames.filter((name) => row.notFor[name] === undefined)) {
      test(`${block}: ${row.claim}`, async () => {
        const bench = benches.get(block) as Bench;
        rig = await openRig(bench, proof.policy(bench));
        await proof.prove(rig, bench);
      }, 20_000);
    }
  });
}
