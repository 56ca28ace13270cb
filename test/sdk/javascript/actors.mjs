// Actors of the JavaScript SDK: a game character with state, a timer and reminders, and a cat that sleeps.
import { setTimeout as sleep } from "node:timers/promises";
import { AbstractActor, ActorId, ActorProxyBuilder, DaprClient, DaprServer, Temporal } from "@dapr/dapr";

const [role] = process.argv.slice(2);
const quiet = { log() {}, info() {}, warn() {}, error() {}, verbose() {}, debug() {} };
const logger = { service: quiet };
/** What the process knows of its actors, beside what they keep. */
const naps = new Map();

class Hero extends AbstractActor {
  async onActivate() {
    const manager = this.getStateManager();
    const [known] = await manager.tryGetState("lives");
    if (!known) await manager.setState("lives", 3);
  }
  async hit({ by }) {
    const manager = this.getStateManager();
    const lives = (await manager.getState("lives")) - by;
    await manager.setState("lives", lives);
    await manager.saveState();
    return { lives };
  }
  async lives() {
    return this.getStateManager().getState("lives");
  }
  async countSlowly() {
    const manager = this.getStateManager();
    const before = (await manager.tryGetState("count"))[1] ?? 0;
    await sleep(5);
    await manager.setState("count", before + 1);
    await manager.saveState();
    return before + 1;
  }
  async heals() {
    return (await this.getStateManager().tryGetState("heals"))[1] ?? 0;
  }
  async startHealing() {
    await this.registerActorTimer(
      "heal",
      "heal",
      Temporal.Duration.from({ milliseconds: 50 }),
      Temporal.Duration.from({ milliseconds: 50 }),
    );
  }
  async stopHealing() {
    await this.unregisterActorTimer("heal");
  }
  async heal() {
    const manager = this.getStateManager();
    await manager.setState("heals", ((await manager.tryGetState("heals"))[1] ?? 0) + 1);
    await manager.saveState();
  }
  async sleepUntilCalled(message) {
    await this.registerActorReminder(
      "wake",
      Temporal.Duration.from({ seconds: 1 }),
      undefined,
      undefined,
      message,
    );
  }
  async drum() {
    const pause = Temporal.Duration.from({ milliseconds: 100 });
    await this.registerActorReminder("drum", pause, pause, undefined, "boom");
  }
  async stopDrumming() {
    await this.unregisterActorReminder("drum");
  }
  async receiveReminder(data) {
    await this.getStateManager().setState("heard", [...(await this.heard()), data]);
  }
  async heard() {
    return (await this.getStateManager().tryGetState("heard"))[1] ?? [];
  }
  async duel(other) {
    const { lives } = await new ActorProxyBuilder(Hero, this.getDaprClient())
      .build(new ActorId(other))
      .hit({ by: 1 });
    return lives;
  }
  async naps(name) {
    return naps.get(name) ?? 0;
  }
  async fail() {
    throw new Error("the hero stumbled");
  }
}

/** Sleeps when nobody calls it for a moment. */
class Cat extends AbstractActor {
  async feed() {
    const manager = this.getStateManager();
    const meals = ((await manager.tryGetState("meals"))[1] ?? 0) + 1;
    await manager.setState("meals", meals);
    return meals;
  }
  async onDeactivate() {
    const name = this.getActorId().getId();
    naps.set(name, (naps.get(name) ?? 0) + 1);
  }
}

if (role === "http") await serve();
else await runChecks();

async function serve() {
  const server = new DaprServer({
    serverHost: "127.0.0.1",
    serverPort: process.env.APP_PORT,
    clientOptions: {
      daprHost: "127.0.0.1",
      daprPort: process.env.DAPR_HTTP_PORT,
      logger,
      // One for all types: the SDK has none by type.
      actor: { actorIdleTimeout: "300ms" },
    },
    logger,
  });
  await server.actor.init();
  await server.actor.registerActor(Hero);
  await server.actor.registerActor(Cat);
  await server.start();
}

async function runChecks() {
  const client = new DaprClient({ daprHost: "127.0.0.1", daprPort: process.env.DAPR_HTTP_PORT, logger });
  const build = (id, type = Hero) => new ActorProxyBuilder(type, client).build(new ActorId(id));
  const hero = build("robin");
  process.stdout.write("skip actor-state-ttl: the SDK has no such call\n");
  process.stdout.write("skip actor-reentrancy: the SDK passes no reentrancy id on\n");
  await check("actor-state", async () => {
    equal(await hero.hit({ by: 1 }), { lives: 2 });
    equal(await hero.lives(), 2);
    equal(await build("marian").lives(), 3);
  });
  await check("actor-turns", async () => {
    const counts = await Promise.all(Array.from({ length: 20 }, () => hero.countSlowly()));
    equal(
      counts.sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
  });
  await check("actor-timer", async () => {
    await hero.startHealing();
    await until(async () => (await hero.heals()) >= 3);
    await hero.stopHealing();
  });
  await check("actor-reminder", async () => {
    await hero.sleepUntilCalled("good morning");
    await until(async () => (await hero.heard()).length > 0);
    equal(await hero.heard(), ["good morning"]);
  });
  await check("actor-reminder-repeats", async () => {
    const drummer = build("john");
    await drummer.drum();
    await until(async () => (await drummer.heard()).filter((each) => each === "boom").length >= 3);
    await drummer.stopDrumming();
  });
  await check("actor-calls", async () => equal(await hero.duel("sheriff"), 2));
  await check("actor-deactivation", async () => {
    const cat = build("tom", Cat);
    equal(await cat.feed(), 1);
    await until(async () => (await hero.naps("tom")) >= 1);
    equal(await cat.feed(), 2);
  });
  await check("actor-error", async () => {
    const error = await hero.fail().then(
      () => undefined,
      (reason) => reason,
    );
    // The SDK's server answers 500 without the reason.
    if (!String(error?.message).includes("ERR_ACTOR_INVOKE_METHOD")) throw new Error(`got ${error?.message}`);
  });
}

async function until(condition) {
  const end = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error("it did not come to be");
    await sleep(20);
  }
}

async function check(name, work) {
  try {
    await work();
    process.stdout.write(`ok ${name}\n`);
  } catch (error) {
    process.stdout.write(
      `not ok ${name}: ${String(error?.message ?? error)
        .replace(/\n/g, " ")
        .slice(0, 500)}\n`,
    );
  }
}

function equal(got, wanted) {
  if (JSON.stringify(got) !== JSON.stringify(wanted)) {
    throw new Error(`got ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`);
  }
}
