"""Actors of the Python SDK as PyPI ships it: an app that hosts them over HTTP or the gRPC stream, and their client."""

import asyncio
import os
import sys
import time
from collections import Counter
from datetime import timedelta

import grpc
import uvicorn
from dapr.actor import Actor, ActorGrpcHost, ActorId, ActorInterface, ActorProxy, ActorRuntime, Remindable, actormethod
from dapr.actor.runtime.config import ActorReentrancyConfig, ActorRuntimeConfig, ActorTypeConfig
from dapr.clients.grpc.dapr_actor_grpc_client import DaprActorGrpcClient
from dapr.ext.fastapi import DaprActor
from fastapi import FastAPI

# What the process knows of its actors, beside what they keep.
naps = Counter()


class HeroInterface(ActorInterface):
    @actormethod(name="Hit")
    async def hit(self, data: dict) -> dict: ...

    @actormethod(name="Lives")
    async def lives(self) -> int: ...

    @actormethod(name="CountSlowly")
    async def count_slowly(self) -> int: ...

    @actormethod(name="Remember")
    async def remember(self, seconds: int) -> None: ...

    @actormethod(name="Remembers")
    async def remembers(self) -> bool: ...

    @actormethod(name="StartHealing")
    async def start_healing(self) -> None: ...

    @actormethod(name="StopHealing")
    async def stop_healing(self) -> None: ...

    @actormethod(name="Heals")
    async def heals(self) -> int: ...

    @actormethod(name="SleepUntilCalled")
    async def sleep_until_called(self, message: str) -> None: ...

    @actormethod(name="Drum")
    async def drum(self) -> None: ...

    @actormethod(name="StopDrumming")
    async def stop_drumming(self) -> None: ...

    @actormethod(name="Heard")
    async def heard(self) -> list: ...

    @actormethod(name="Duel")
    async def duel(self, other: str) -> int: ...

    @actormethod(name="Fail")
    async def fail(self) -> None: ...

    @actormethod(name="Naps")
    async def naps(self, name: str) -> int: ...


class Hero(Actor, HeroInterface, Remindable):
    async def _on_activate(self) -> None:
        await self._state_manager.try_add_state("lives", 3)

    async def hit(self, data: dict) -> dict:
        lives = await self.lives() - data["by"]
        await self._state_manager.set_state("lives", lives)
        return {"lives": lives}

    async def lives(self) -> int:
        return await self._state_manager.get_state("lives")

    async def count_slowly(self) -> int:
        before = await self._get("count", 0)
        await asyncio.sleep(0.005)
        await self._state_manager.set_state("count", before + 1)
        return before + 1

    async def remember(self, seconds: int) -> None:
        await self._state_manager.set_state_ttl("secret", "hush", seconds)

    async def remembers(self) -> bool:
        # The SDK keeps what it has read.
        await self._state_manager.clear_cache()
        return await self._state_manager.contains_state("secret")

    async def start_healing(self) -> None:
        pause = timedelta(milliseconds=50)
        await self.register_timer("heal", self.heal, 2, pause, pause)

    async def stop_healing(self) -> None:
        await self.unregister_timer("heal")

    async def heal(self, by: int) -> None:
        await self._state_manager.set_state("heals", await self.heals() + by)

    async def heals(self) -> int:
        return await self._get("heals", 0)

    async def sleep_until_called(self, message: str) -> None:
        await self.register_reminder("wake", message.encode(), timedelta(milliseconds=300))

    async def drum(self) -> None:
        await self.register_reminder("drum", b"boom", timedelta(), timedelta(milliseconds=100))

    async def stop_drumming(self) -> None:
        await self.unregister_reminder("drum")

    async def receive_reminder(self, name, state, due_time, period, ttl=None) -> None:
        heard = await self.heard()
        await self._state_manager.set_state("heard", [*heard, f"{name}: {state.decode()}"])

    async def heard(self) -> list:
        return await self._get("heard", [])

    async def duel(self, other: str) -> int:
        answer = await ActorProxy.create("Hero", ActorId(other), HeroInterface).Hit({"by": 1})
        return answer["lives"]

    async def fail(self) -> None:
        raise ValueError("the hero stumbled")

    async def naps(self, name: str) -> int:
        return naps[name]

    async def _get(self, name: str, otherwise):
        known, value = await self._state_manager.try_get_state(name)
        return value if known else otherwise


class CatInterface(ActorInterface):
    @actormethod(name="Feed")
    async def feed(self) -> int: ...


class Cat(Actor, CatInterface):
    """Sleeps when nobody calls it for a moment."""

    async def feed(self) -> int:
        known, meals = await self._state_manager.try_get_state("meals")
        meals = meals + 1 if known else 1
        await self._state_manager.set_state("meals", meals)
        return meals

    async def _on_deactivate(self) -> None:
        naps[self.id.id] += 1


class MirrorInterface(ActorInterface):
    @actormethod(name="Look")
    async def look(self, depth: int) -> int: ...


class Mirror(Actor, MirrorInterface):
    """Calls itself within its own turn."""

    async def look(self, depth: int) -> int:
        if depth == 0:
            return 1
        seen = await ActorProxy.create("Mirror", self.id, MirrorInterface).Look(depth - 1)
        # Over the stream an error is a result (see `fails`).
        if not isinstance(seen, int):
            raise ValueError(str(seen))
        return 1 + seen


types = [Hero, Cat, Mirror]


def configure() -> None:
    cat = ActorTypeConfig("Cat", actor_idle_timeout=timedelta(milliseconds=300))
    mirror = ActorTypeConfig("Mirror", reentrancy=ActorReentrancyConfig(enabled=True, maxStackDepth=4))
    ActorRuntime.set_actor_config(ActorRuntimeConfig(actor_type_configs=[cat, mirror]))


async def serve_http() -> None:
    app = FastAPI()
    actors = DaprActor(app)
    for each in types:
        await actors.register_actor(each)
    config = uvicorn.Config(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), log_level="warning")
    await uvicorn.Server(config).serve()


async def serve_grpc() -> None:
    host = ActorGrpcHost()
    for each in types:
        await host.register_actor(each)
    await host.run_forever()


async def run_checks() -> None:
    hero = proxy("Hero", "robin", HeroInterface)
    await until(lambda: answers(hero))

    async def state() -> None:
        same(await hero.Hit({"by": 1}), {"lives": 2})
        same(await hero.Lives(), 2)
        same(await proxy("Hero", "marian", HeroInterface).Lives(), 3)

    async def state_ttl() -> None:
        await hero.Remember(1)
        same(await hero.Remembers(), True)
        await until(lambda: is_not(hero.Remembers()))

    async def turns() -> None:
        counts = await asyncio.gather(*[hero.CountSlowly() for _ in range(20)])
        same(sorted(counts), list(range(1, 21)))

    async def timer() -> None:
        await hero.StartHealing()
        await until(lambda: reaches(hero.Heals(), 6))
        await hero.StopHealing()

    async def reminder() -> None:
        await hero.SleepUntilCalled("good morning")
        await until(lambda: equals(hero.Heard(), ["wake: good morning"]))

    async def reminder_repeats() -> None:
        drummer = proxy("Hero", "john", HeroInterface)
        await drummer.Drum()

        async def has_drummed() -> bool:
            return (await drummer.Heard()).count("drum: boom") >= 3

        await until(has_drummed)
        await drummer.StopDrumming()

    async def calls() -> None:
        same(await hero.Duel("sheriff"), 2)

    async def reentrancy() -> None:
        mirror = proxy("Mirror", "hall", MirrorInterface)
        same(await mirror.Look(3), 4)
        await fails(mirror.Look(4), "maximum stack depth exceeded")

    async def deactivation() -> None:
        cat = proxy("Cat", "tom", CatInterface)
        same(await cat.Feed(), 1)
        await until(lambda: reaches(hero.Naps("tom"), 1))
        same(await cat.Feed(), 2)

    async def error() -> None:
        await fails(hero.Fail(), "the hero stumbled")
        call = DaprActorGrpcClient().invoke_method("Hero", "robin", "Fail")
        if "GRPC_APP_GRPC_PORT" in os.environ:
            # An actor's own error, which a reply over gRPC does not tell from a result.
            same(b"the hero stumbled" in await call, True)
            return
        try:
            await call
        except grpc.aio.AioRpcError as failure:
            same("error invoke actor method" in failure.details(), True)
        else:
            raise AssertionError("a failure of the app was no failure of the call")

    cases = [state, state_ttl, turns, timer, reminder, reminder_repeats, calls, reentrancy, deactivation, error]
    for case in cases:
        await check(f"actor-{case.__name__.replace('_', '-')}", case)


def proxy(kind: str, name: str, interface):
    return ActorProxy.create(kind, ActorId(name), interface)


async def answers(hero) -> bool:
    try:
        return await hero.Lives() == 3
    except Exception:
        return False


async def is_not(value) -> bool:
    return not await value


async def reaches(value, wanted) -> bool:
    return await value >= wanted


async def equals(value, wanted) -> bool:
    return await value == wanted


async def until(is_true) -> None:
    deadline = time.monotonic() + 30
    while not await is_true():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come to be")
        await asyncio.sleep(0.02)


async def fails(call, text: str) -> None:
    """Over the stream an error is an answer of status 200 with a header, which the SDK's client takes for a result."""
    try:
        result = await call
    except Exception as error:
        if text in str(error):
            return
        raise AssertionError(f"failed with {error!r}") from error
    if text not in str(result):
        raise AssertionError(f"did not fail: {result!r}")


async def check(name: str, work) -> None:
    try:
        await asyncio.wait_for(work(), 40)
        print(f"ok {name}", flush=True)
    except Exception as error:
        print(f"not ok {name}: {repr(error)[:500]}".replace("\n", " "), flush=True)


def same(got, wanted) -> None:
    if got != wanted:
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


if __name__ == "__main__":
    role = sys.argv[1]
    if role == "client":
        asyncio.run(run_checks())
    else:
        configure()
        asyncio.run(serve_http() if role == "http" else serve_grpc())
