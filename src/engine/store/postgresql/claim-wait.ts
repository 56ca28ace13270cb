import type { Clock } from "../../../edges/clock.ts";
import { freshUntilMs } from "../claim-age.ts";
import { ChannelWait } from "../sqlite/channel-wait.ts";
import type { ClaimRequest, Delivery } from "../store.ts";
import type { Feeds } from "./feeds.ts";

export interface Claimed {
  deliveries: Delivery[];
  /** A further claim may find something now, though this one found nothing. */
  hasMore: boolean;
  /** In how many milliseconds a delayed or leased message may be claimed, by the server's clock. */
  nextInMs: number | undefined;
}

export interface ClaimSource {
  clock: Clock;
  feeds: Feeds;
  claimNow(request: ClaimRequest): Promise<Claimed>;
  /** Returns what nobody will handle. */
  giveBack(deliveries: readonly Delivery[]): Promise<void>;
}

/** Claims at once when there is something, else when the topic changes or a delayed message's time comes. */
export async function claimWhenThere(source: ClaimSource, request: ClaimRequest): Promise<Delivery[]> {
  if (request.max <= 0) return [];
  const { clock } = source;
  const endMs = clock.monotonicMs() + request.waitMs;
  for (;;) {
    // The watch starts before the look: a change between look and wait is not missed.
    const wait =
      request.waitMs > 0
        ? new ChannelWait(source.feeds, `topic:${request.topic}`, request.signal)
        : undefined;
    try {
      const untilMs = freshUntilMs(clock, request.leaseMs);
      const { deliveries, hasMore, nextInMs } = await source.claimNow(request);
      if (request.signal?.aborted) {
        await source.giveBack(deliveries);
        return [];
      }
      const isFresh = clock.monotonicMs() < untilMs;
      if (deliveries.length > 0 && isFresh) return deliveries;
      if (hasMore || !isFresh) continue;
      const leftMs = endMs - clock.monotonicMs();
      if (leftMs <= 0) return [];
      await wait?.until(clock, Math.max(1, Math.min(leftMs, nextInMs ?? leftMs)));
      if (request.signal?.aborted) return [];
    } finally {
      wait?.end();
    }
  }
}
