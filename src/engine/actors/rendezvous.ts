import { hashText, mixHash } from "../../kit/text-hash.ts";

/**
 * Highest random weight: each host has a weight for each key, the heaviest gets it. A host that comes or goes moves
 * only its own share, and nobody has to agree on a ring.
 */
export function rendezvous<T extends { hostId: string }>(key: string, hosts: readonly T[]): T | undefined {
  let best: T | undefined;
  let bestWeight = -1;
  const keyHash = hashText(key, 0x811c9dc5);
  for (const host of hosts) {
    const weight = mixHash(hashText(host.hostId, keyHash));
    if (weight > bestWeight || (weight === bestWeight && best !== undefined && host.hostId > best.hostId)) {
      best = host;
      bestWeight = weight;
    }
  }
  return best;
}
