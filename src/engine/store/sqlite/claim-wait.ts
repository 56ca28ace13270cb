import type { Clock } from "../../../edges/clock.ts";
import type { ClaimRequest, Delivery } from "../store.ts";
import { ChannelWait } from "./channel-wait.ts";
import type { Feeds } from "./feeds.ts";
import type { Outlook } from "./reads.ts";
import type { Claimed, StandingClaim, StandingClaims } from "./standing-claims.ts";

export interface ClaimSource {
  clock: Clock;
  feeds: Pick<Feeds, "watch">;
  standing: StandingClaims;
  /** A cheap look whether a claim would find anything. */
  outlook(topic: string, group: string): Promise<Outlook>;
  /** Writes the claims. */
  claimNow(request: ClaimRequest): Promise<Claimed>;
  /** Returns what nobody will handle. */
  giveBack(deliveries: readonly Delivery[]): Promise<void>;
}

/** Claims at once when there is something, else when the topic changes or a delayed message's time comes. */
export async function claimWhenThere(source: ClaimSource, request: ClaimRequest): Promise<Delivery[]> {
  if (request.max <= 0) return [];
  const endMs = source.clock.monotonicMs() + request.waitMs;
  for (;;) {
    // The watch starts before the look: a change between look and wait is not missed.
    const wait = new ChannelWait(source.feeds, `topic:${request.topic}`, request.signal);
    try {
      let { claimed, outlook } = await claimAll(source, request);
      const leftMs = endMs - source.clock.monotonicMs();
      const isOver = leftMs <= 0 || request.signal?.aborted;
      if (claimed === undefined && !isOver) claimed = await stand(source, request, wait, leftMs, outlook);
      if (request.signal?.aborted) {
        await source.giveBack(claimed?.deliveries ?? []);
        return [];
      }
      if (claimed !== undefined && isFresh(source, claimed)) return claimed.deliveries;
      if (isOver) {
        await eventLoopTurn();
        return [];
      }
    } finally {
      wait.end();
    }
  }
}

/** A claim looks at a bounded number of messages: it goes on while it only met some that must wait. */
async function claimAll(
  source: ClaimSource,
  request: ClaimRequest,
): Promise<{ claimed?: Claimed; outlook?: Outlook }> {
  const outlook = await source.outlook(request.topic, request.group);
  if (!outlook.isReady) return { outlook };
  for (let more = true; more && !request.signal?.aborted; ) {
    const claimed = await source.claimNow(request);
    if (claimed.deliveries.length > 0) return { claimed };
    more = !claimed.exhausted;
  }
  return {};
}

function isFresh({ clock }: ClaimSource, { deliveries, freshUntilMs }: Claimed): boolean {
  return deliveries.length > 0 && clock.monotonicMs() < freshUntilMs;
}

/** Waits for a reason to look again; returns what a claim that went with an append has brought meanwhile. */
async function stand(
  source: ClaimSource,
  request: ClaimRequest,
  wait: ChannelWait,
  leftMs: number,
  outlook?: Outlook,
): Promise<Claimed | undefined> {
  const { topic, group } = request;
  const { nextAtMs } = outlook ?? (await source.outlook(topic, group));
  const untilNextMs = nextAtMs === undefined ? leftMs : nextAtMs - source.clock.now();
  const claim: StandingClaim = { make: () => source.claimNow(request) };
  const remove = source.standing.add(topic, group, claim);
  try {
    await wait.until(source.clock, Math.max(1, Math.min(leftMs, untilNextMs)));
    return await claim.made;
  } finally {
    remove();
  }
}

/** Who asks again and again without waiting must not keep the commits from happening that it asks for. */
function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
