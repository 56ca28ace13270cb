import { afterEach, describe, test } from "bun:test";
import { type BalanceProof, balanceProofs } from "../matrix/balance-proofs.ts";
import { callBenches } from "../matrix/call-benches.ts";
import { type BlockName, balancingRows, blockNames, type PolicyRow, policyRows } from "../matrix/cells.ts";
import { componentBenches } from "../matrix/component-benches.ts";
import { engineBenches } from "../matrix/engine-benches.ts";
import { type Proof, proofs } from "../matrix/proofs.ts";
import { type Bench, type Fleet, openFleet, openRig, type Rig } from "../matrix/rig.ts";
import { routeBenches } from "../matrix/route-benches.ts";

const benches = new Map<BlockName, Bench>(
  [...callBenches, ...componentBenches, ...engineBenches, ...routeBenches].map((bench) => [
    bench.block,
    bench,
  ]),
);

let rig: Rig | Fleet | undefined;

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
        const opened = await openRig(bench, proof.policy(bench));
        rig = opened;
        await proof.prove(opened, bench);
      }, 20_000);
    }
  });
}

for (const row of balancingRows as readonly PolicyRow[]) {
  describe(row.name, () => {
    const proof: BalanceProof = balanceProofs[row.name as keyof typeof balanceProofs];
    for (const block of blockNames.filter((name) => row.notFor[name] === undefined)) {
      test(`${block}: ${row.claim}`, async () => {
        const bench = benches.get(block) as Bench;
        const fleet = await openFleet(bench, proof.policy(bench));
        rig = fleet;
        await proof.prove(fleet);
      }, 30_000);
    }
  });
}
