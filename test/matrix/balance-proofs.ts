import { expect } from "bun:test";
import { until } from "../../src/testing/index.ts";
import { trafficPolicy } from "../scenario/traffic-fixture.ts";
import type { BalancingName } from "./cells.ts";
import type { Bench, Fleet } from "./rig.ts";

export interface BalanceProof {
  policy(bench: Bench): string;
  prove(fleet: Fleet): Promise<void>;
}

function traffic(blocks: string | ((bench: Bench) => string)): BalanceProof["policy"] {
  return (bench) => {
    const text = typeof blocks === "string" ? blocks : blocks(bench);
    return trafficPolicy("matrix", `{ targetRefs: [ ${bench.target} ], from: [ { app: shop } ], ${text} }`);
  };
}

/** Uses it until both instances are known, and begins to count then. */
async function bothKnown({ plans, use, healths }: Fleet): Promise<void> {
  await until(async () => {
    await use();
    return (await healths()).length === 2;
  }, "both instances to be known");
  for (const plan of plans) plan.tries = 0;
}

function triesOf({ plans }: Fleet): number {
  return plans[0].tries + plans[1].tries;
}

async function isGoodSoOften(fleet: Fleet, times: number): Promise<void> {
  for (let i = 0; i < times; i++) expect((await fleet.use()).isGood).toBe(true);
}

export const balanceProofs = {
  loadBalancer: {
    policy: traffic("loadBalancer: { consistentHash: { httpHeaderName: x-user } }"),
    async prove(fleet) {
      await bothKnown(fleet);
      await isGoodSoOften(fleet, 8);
      expect(fleet.plans.map(({ tries }) => tries).sort()).toEqual([0, 8]);
    },
  },
  connectionPool: {
    policy: traffic("connectionPool: { http: { http2MaxRequests: 1 } }"),
    async prove(fleet) {
      await bothKnown(fleet);
      for (const plan of fleet.plans) plan.hang(1);
      const first = fleet.use();
      await until(() => triesOf(fleet) === 1, "the first use to be under way");
      expect((await fleet.use()).isGood).toBe(false);
      expect(triesOf(fleet)).toBe(1);
      for (const plan of fleet.plans) plan.release();
      expect((await first).isGood).toBe(true);
    },
  },
  outlierDetection: {
    policy: traffic("outlierDetection: { consecutive5xxErrors: 2, baseEjectionTime: 1h }"),
    async prove(fleet) {
      await bothKnown(fleet);
      const [bad] = fleet.plans;
      bad.fail(Number.POSITIVE_INFINITY);
      await until(async () => {
        await fleet.use();
        return bad.tries === 2;
      }, "the instance to fail twice");
      await isGoodSoOften(fleet, 6);
      expect(bad.tries).toBe(2);
    },
  },
  healthCheck: {
    policy: traffic(({ block }) => {
      const check = block === "gRPC proxied" ? "grpc: {}" : "http: { path: /check }";
      return `healthCheck: { ${check}, interval: 100ms, unhealthyThreshold: 1 }`;
    }),
    async prove(fleet) {
      await bothKnown(fleet);
      const [bad] = fleet.plans;
      bad.isWell = false;
      await until(async () => (await fleet.healths()).includes("failing"), "the check to fail");
      bad.tries = 0;
      await isGoodSoOften(fleet, 6);
      expect(bad.tries).toBe(0);
    },
  },
} satisfies Record<BalancingName, BalanceProof>;
