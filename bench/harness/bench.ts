/** One line of the table that `npm run bench` prints. */
export interface Line {
  name: string;
  /** What was measured, with units, for people: `31.2 us CPU against 19.8 us nginx`. */
  figure: string;
  /** What the target speaks about: a ratio, milliseconds, megabytes, a share of one core. */
  value: number;
  unit: "x" | "ms" | "us" | "MB" | "KiB" | "%";
  /** Reached when the value is not above it; absent: the figure is told, and nothing is wanted of it. */
  target?: number;
}

export interface Settings {
  rounds: number;
  secondsPerRound: number;
  /** Tells what is going on; not part of the result. */
  say(text: string): void;
}

export interface Bench {
  name: string;
  run(settings: Settings): Promise<Line[]>;
}

/** Connections, or calls in flight, that keep the measured process busy. */
export const connections = 64;

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

export function percentile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** What one round of load cost the process under test. */
export interface Round {
  requests: number;
  cpuUs: number;
  seconds: number;
}

/** A line that compares CPU per request with a yardstick's, over rounds that took turns. */
export function ratioLine(
  name: string,
  target: number,
  yardstick: string,
  rounds: { mecha: Round; yardstick: Round }[],
): Line {
  const perRequest = (round: Round) => round.cpuUs / round.requests;
  const own = median(rounds.map(({ mecha }) => perRequest(mecha)));
  const other = median(rounds.map((round) => perRequest(round.yardstick)));
  // The median of each round's ratio: what disturbs one round disturbs both of its halves.
  const ratio = median(rounds.map((round) => perRequest(round.mecha) / perRequest(round.yardstick)));
  const rate = median(rounds.map(({ mecha }) => mecha.requests / mecha.seconds));
  const figure = `${own.toFixed(1)} us CPU against ${other.toFixed(1)} us ${yardstick}, ${Math.round(rate)}/s`;
  return { name, figure, value: ratio, unit: "x", target };
}

/** Runs both sides in turns, after a warm-up of each. */
export async function takeTurns(
  { rounds, secondsPerRound, say }: Settings,
  sides: { mecha(seconds: number): Promise<Round>; yardstick(seconds: number): Promise<Round> },
): Promise<{ mecha: Round; yardstick: Round }[]> {
  await sides.yardstick(1);
  await sides.mecha(2);
  const taken: { mecha: Round; yardstick: Round }[] = [];
  for (let index = 0; index < rounds; index++) {
    const yardstick = await sides.yardstick(secondsPerRound);
    const mecha = await sides.mecha(secondsPerRound);
    taken.push({ mecha, yardstick });
    const of = (round: Round) => `${(round.cpuUs / round.requests).toFixed(1)} us x ${round.requests}`;
    say(`round ${index + 1}: mecha ${of(mecha)}, yardstick ${of(yardstick)}`);
  }
  return taken;
}
