/**
 * Highest random weight: each host has a weight for each key, the heaviest gets it. A host that comes or goes moves
 * only its own share, and nobody has to agree on a ring.
 */
export function rendezvous<T extends { hostId: string }>(key: string, hosts: readonly T[]): T | undefined {
  let best: T | undefined;
  let bestWeight = -1;
  const keyHash = hash(key, 0x811c9dc5);
  for (const host of hosts) {
    const weight = mix(hash(host.hostId, keyHash));
    if (weight > bestWeight || (weight === bestWeight && best !== undefined && host.hostId > best.hostId)) {
      best = host;
      bestWeight = weight;
    }
  }
  return best;
}

/** FNV-1a over UTF-16 units. */
function hash(text: string, seed: number): number {
  let value = seed;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}

/** The finaliser of MurmurHash3: FNV alone leaves the weights of similar names similar. */
function mix(input: number): number {
  let value = input;
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
