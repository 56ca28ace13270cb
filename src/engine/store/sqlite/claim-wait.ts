import type { Clock } from "../../../edges/clock.ts";
import type { ClaimRequest, Delivery } from "../store.ts";
import { ChannelWait } from "./channel-wait.ts";
import type { Feeds } from "./feeds.ts";
import type { Outlook } from "./reads.ts";

export interface ClaimSource {
  clock: Clock;
  feeds: Feeds;
  /** A cheap look whether a claim would find anything. */
  outlook(topic: string, group: string): Promise<Outlook>;
  /** Writes the claims. `exhausted`: there is nothing more to find now. */
  claimNow(request: ClaimRequest): Promise<{ deliveries: Delivery[]; exhausted: boolean }>;
  /** Returns what nobody will handle. */
  giveBack(deliveries: readonly Delivery[]): Promise<void>;
}

/** Claims at once when there is something, else when the topic changes or a delayed message's time comes. */
export async function claimWhenThere(source: ClaimSource, request: ClaimRequest): Promise<Delivery[]> {
  const endMs = source.clock.monotonicMs() + request.waitMs;
  for (;;) {
    // The watch starts before the look: a change between look and wait is not missed.
    const wait = new ChannelWait(source.feeds, `topic:${request.topic}`, request.signal);
    try {
      const deliveries = await claimAll(source, request);
      if (request.signal?.aborted) {
        await source.giveBack(deliveries);
        return [];
      }
      const leftMs = endMs - source.clock.monotonicMs();
      if (deliveries.length > 0) return deliveries;
      if (leftMs <= 0) {
        await eventLoopTurn();
        return [];
      }
      const { nextAtMs } = await source.outlook(request.topic, request.group);
      const untilNextMs = nextAtMs === undefined ? leftMs : nextAtMs - source.clock.now();
      await wait.until(source.clock, Math.max(1, Math.min(leftMs, untilNextMs)));
      if (request.signal?.aborted) return [];
    } finally {
      wait.end();
    }
  }
}

/** Who asks again and again without waiting must not keep the commits from happening that it asks for. */
function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A claim looks at a bounded number of messages: it goes on while it only met some that must wait. */
async function claimAll(source: ClaimSource, request: ClaimRequest): Promise<Delivery[]> {
  const { isReady } = await source.outlook(request.topic, request.group);
  for (let more = isReady; more && !request.signal?.aborted; ) {
    const { deliveries, exhausted } = await source.claimNow(request);
    if (deliveries.length > 0) return deliveries;
    more = !exhausted;
  }
  return [];
}
