import { OrchestrationStatus } from "../../src/wire/orchestrator_service_pb.js";
import { between, oneOf } from "./host.ts";
import { outputs, type ProgramName, programNames } from "./programs.ts";
import { jobEveryMs } from "./witness.ts";
import { World } from "./world.ts";

export interface SimulationOptions {
  seed: number;
  hosts?: number;
  workflows?: number;
  jobs?: number;
}

export interface Simulation {
  faults: string[];
  /** Of all commits. */
  trace: string;
  disturbances: number;
  commits: number;
}

const chaosMs = 20_000;
const stepMs = 400;
/** Simulated: leases of 10 s, retries and all have their time. */
const healMs = 180_000;

/** One run: work begins while hosts crash, stop and lose answers; then all is well, and everything has to be right. */
export async function simulate(options: SimulationOptions): Promise<Simulation> {
  const { seed, hosts = 3, workflows = 12, jobs = 8 } = options;
  const world = new World(seed);
  world.start(hosts);
  try {
    const wanted = new Map<string, ProgramName>();
    for (let index = 0; index < workflows; index++) {
      const name = oneOf(world.random, programNames);
      wanted.set(`w${index}`, name);
      world.clock.setTimer(between(world.random, 0, chaosMs / 2), () => begin(world, `w${index}`, name));
    }
    for (let index = 0; index < jobs; index++) plan(world, `job-${index}`, index);
    const isDone = () => [...wanted.keys()].every((id) => world.ended.has(id)) && allRan(world);
    await disturb(world);
    world.heal();
    watchEnds(world, [...wanted.keys()]);
    if (!(await world.run(healMs, isDone))) complain(world, wanted);
    await world.run(15_000);
    verify(world, wanted);
    const { faults } = world.witness;
    return { faults, trace: world.trace, disturbances: world.disturbances, commits: world.commits };
  } finally {
    world.close();
  }
}

async function disturb(world: World): Promise<void> {
  const { random } = world;
  const { length } = world.machines;
  Object.assign(world.faults, {
    refused: between(random, 0, 0.05),
    unanswered: between(random, 0, 0.05),
    slow: between(random, 0, 0.05),
  });
  for (let passedMs = 0; passedMs < chaosMs; passedMs += stepMs) {
    await world.run(stepMs);
    const index = Math.floor(random.next() * length);
    const dice = random.next();
    if (dice < 0.06) world.crash(index);
    else if (dice < 0.12) world.pause(index, between(random, 100, 20_000));
    else if (dice < 0.19) world.machines[index]?.dropWorker();
  }
}

function begin(world: World, instanceId: string, name: ProgramName): void {
  const { signal } = new AbortController();
  world.insist(
    ({ workflows }) => workflows.instances.start({ instanceId, name }, signal),
    () => {
      if (name === "event") raise(world, instanceId);
    },
  );
}

/** Until it has ended: a machine that stood still may have started it anew. */
function raise(world: World, instanceId: string): void {
  if (world.ended.has(instanceId)) return;
  world.insist(({ workflows }) => workflows.instances.raiseEvent(instanceId, "go", undefined));
  world.clock.setTimer(5_000, () => raise(world, instanceId));
}

/** Half of the jobs come once, half of them three times. */
function plan(world: World, name: string, index: number): void {
  const dueMs = Math.ceil(world.clock.now() + between(world.random, 500, chaosMs));
  const times = index % 2 === 0 ? 1 : 3;
  const job = { dueMs, times, runs: 0, recorded: 0, isOver: false };
  world.witness.jobs.set(name, job);
  const asked = {
    name,
    dueTime: new Date(dueMs).toISOString(),
    ...(times > 1 && { schedule: `@every ${jobEveryMs}ms`, repeats: times }),
  };
  world.insist(async ({ jobs }) => {
    // Its answer was lost, and it has come and gone since.
    if (job.runs === 0) await jobs.schedule(asked, { overwrite: false });
  });
}

function allRan({ witness }: World): boolean {
  return [...witness.jobs.values()].every(({ isOver }) => isOver);
}

/** Looks at the disk itself now and then. */
function watchEnds(world: World, ids: readonly string[]): void {
  for (const id of ids) {
    const record = world.record(id);
    if (record?.completedMs !== undefined) world.ended.set(id, record);
  }
  world.clock.setTimer(500, () => watchEnds(world, ids));
}

function complain(world: World, wanted: ReadonlyMap<string, ProgramName>): void {
  for (const [id, name] of wanted) {
    if (world.ended.has(id)) continue;
    world.witness.faults.push(`${id} (${name}) has not ended: ${JSON.stringify(world.record(id))}`);
  }
  for (const [name, { times, recorded, isOver }] of world.witness.jobs)
    if (!isOver) world.witness.faults.push(`${name} was lost after ${recorded} of ${times}`);
}

function verify(world: World, wanted: ReadonlyMap<string, ProgramName>): void {
  const { witness, disturbances } = world;
  for (const [id, name] of wanted) {
    const { status, output } = world.ended.get(id) ?? {};
    if (status !== OrchestrationStatus.COMPLETED || output !== outputs[name])
      witness.faults.push(`${id} (${name}) ended as ${status} with ${output}`);
  }
  for (const [key, { instanceId, executionId, runs, isRecorded }] of witness.steps) {
    // What continued as new has left its history behind.
    const isLast = world.ended.get(instanceId)?.executionId === executionId || !wanted.has(instanceId);
    if (isLast && !isRecorded) witness.faults.push(`${key} ran and was never recorded`);
    if (runs > 1 + disturbances + world.lostAnswers) witness.faults.push(`${key} ran ${runs} times`);
  }
  for (const [name, { times, runs, recorded }] of witness.jobs) {
    if (recorded !== times) witness.faults.push(`${name} was recorded ${recorded} times instead of ${times}`);
    if (runs > times + disturbances + world.lostAnswers) witness.faults.push(`${name} ran ${runs} times`);
  }
  for (const { topic, pending, inFlight } of world.disk.unhandled())
    witness.faults.push(`${topic}: ${pending} messages wait and ${inFlight} are in flight for ever`);
}
