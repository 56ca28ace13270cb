"""The workflow scenarios in Python, on dapr as PyPI ships it: worker of two apps and client in one process."""

import json
import os
import time
from datetime import datetime, timedelta, timezone
from types import FunctionType

import dapr.ext.workflow as wf

calls = {}
undone = []
workflows = []
activities = []


def workflow(function):
    workflows.append(function)
    return function


def activity(function):
    activities.append(function)
    return function


def copy(function):
    """The SDK marks what it registers, and refuses it a second time."""
    return FunctionType(function.__code__, function.__globals__, function.__name__)


def worker(port=None, versions=("one",)):
    """A runtime that has everything, and of the workflow `evolving` these versions; the last is the latest."""
    runtime = wf.WorkflowRuntime(port=port)
    for each in workflows:
        runtime.register_workflow(copy(each))
    for each in activities:
        runtime.register_activity(copy(each))
    for version in versions:
        function = copy({"one": evolving_one, "two": evolving_two}[version])
        is_latest = version == versions[-1]
        runtime.register_versioned_workflow(
            function, name="evolving", version_name=version, is_latest=is_latest
        )
    runtime.start()
    runtime.wait_for_worker_ready()
    return runtime


@activity
def double(ctx, number):
    calls["double"] = calls.get("double", 0) + 1
    return number * 2


@activity
def refuse(ctx, what):
    raise ValueError(f"no {what}")


@activity
def flaky(ctx, key):
    calls[key] = calls.get(key, 0) + 1
    if calls[key] < 3:
        raise ValueError("not yet")
    return calls[key]


@activity
def undo(ctx, step):
    undone.append(step)


@workflow
def chain(ctx, number):
    one = yield ctx.call_activity(double, input=number)
    two = yield ctx.call_activity(double, input=one)
    return (yield ctx.call_activity(double, input=two))


@workflow
def fan(ctx, count):
    tasks = [ctx.call_activity(double, input=index) for index in range(count)]
    return sum((yield wf.when_all(tasks)))


@workflow
def monitor(ctx, polls):
    ctx.set_custom_status(f"left {polls}")
    if polls == 0:
        return "healthy"
    yield ctx.call_activity(double, input=polls)
    yield ctx.create_timer(timedelta(milliseconds=50))
    ctx.continue_as_new(polls - 1, save_events=True)


@workflow
def spin(ctx, left):
    """More executions than run in one turn."""
    if left == 0:
        return "done"
    ctx.continue_as_new(left - 1)


@workflow
def approval(ctx, seconds):
    approved = ctx.wait_for_external_event("approved")
    timeout = ctx.create_timer(timedelta(seconds=seconds))
    first = yield wf.when_any([approved, timeout])
    return "timed out" if first == timeout else f"approved by {approved.get_result()}"


@workflow
def saga(ctx, _):
    done = []
    try:
        for step in ["flight", "hotel"]:
            yield ctx.call_activity(double, input=1)
            done.append(step)
        yield ctx.call_activity(refuse, input="car")
    except Exception:
        for step in reversed(done):
            yield ctx.call_activity(undo, input=step)
        return "undone"


@workflow
def retried(ctx, key):
    policy = wf.RetryPolicy(first_retry_interval=timedelta(milliseconds=20), max_number_of_attempts=5)
    return (yield ctx.call_activity(flaky, input=key, retry_policy=policy))


@workflow
def collect(ctx, given):
    """Each execution takes one event; those that wait go along to the next."""
    if given["left"] == 0:
        return given["sum"]
    number = yield ctx.wait_for_external_event("number")
    ctx.continue_as_new({"left": given["left"] - 1, "sum": given["sum"] + number}, save_events=True)


@workflow
def parent(ctx, number):
    children = [ctx.call_child_workflow(chain, input=number + each) for each in range(3)]
    return sum((yield wf.when_all(children)))


@workflow
def holder(ctx, _):
    yield ctx.call_child_workflow(numbers, instance_id=f"{ctx.instance_id}-child")


@workflow
def numbers(ctx, _):
    first = yield ctx.wait_for_external_event("number")
    second = yield ctx.wait_for_external_event("number")
    return first + second


@workflow
def broken(ctx, _):
    raise RuntimeError("broken by design")


@workflow
def patched(ctx, _):
    early = ctx.is_patched("early")
    yield ctx.call_activity(double, input=1)
    return [early, ctx.is_patched("better")]


@workflow
def abroad(ctx, number):
    return (yield ctx.call_activity("double", input=number, app_id="other"))


@workflow
def abroad_child(ctx, number):
    return (yield ctx.call_child_workflow("chain", input=number, app_id="other"))


@activity
def ancestors(ctx, _):
    return [each.name for each in ctx.get_propagated_history().get_workflows()]


@workflow
def grandparent(ctx, scope):
    yield ctx.call_activity(double, input=21)
    scope = wf.PropagationScope[scope]
    return (yield ctx.call_child_workflow("heir", input=1, app_id="other", propagation=scope))


@workflow
def heir(ctx, left):
    """Goes on as new once: what it was handed stays with it."""
    if left > 0:
        ctx.continue_as_new(left - 1)
        return
    handed = ctx.get_propagated_history()
    doubled = handed.get_last_workflow_by_name("grandparent").get_last_activity_by_name("double")
    lineage = wf.PropagationScope.LINEAGE
    names = yield ctx.call_activity(ancestors, propagation=lineage)
    alone = yield ctx.call_activity(ancestors, propagation=wf.PropagationScope.OWN_HISTORY)
    return [doubled.output, names, alone]


def evolving_one(ctx, _):
    yield ctx.wait_for_external_event("go")
    return "one"


def evolving_two(ctx, _):
    yield ctx.wait_for_external_event("go")
    return "two"


client = wf.DaprWorkflowClient()


def end(instance_id):
    state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
    return state, json.loads(state.serialized_output) if state.serialized_output else None


def run(workflow, given=None):
    return end(client.schedule_new_workflow(workflow, input=given))


def same(actual, expected):
    if actual != expected:
        raise AssertionError(f"expected {expected!r}, got {actual!r}")


def until(reached):
    deadline = time.time() + 20
    while not reached():
        if time.time() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.01)


def check(name):
    def run_check(work):
        try:
            work()
            print(f"ok {name}", flush=True)
        except Exception as error:
            print(f"not ok {name}: {str(error)!r}", flush=True)

    return run_check


runtime = worker()
other = worker(os.environ["OTHER_GRPC_PORT"])
check("chain")(lambda: same(run(chain, 1)[1], 8))
check("fan-out")(lambda: same(run(fan, 30)[1], 870))
check("monitor")(lambda: same(run(monitor, 3)[1], "healthy"))
check("continue-as-new")(lambda: same(run(spin, 50)[1], "done"))
check("approval-timeout")(lambda: same(run(approval, 0.2)[1], "timed out"))
check("retry")(lambda: same(run(retried, "retry")[1], 3))
check("child")(lambda: same(run(parent, 1)[1], 48))
check("patch")(lambda: same(run(patched)[1], [True, True]))


@check("approval")
def _():
    instance_id = client.schedule_new_workflow(approval, input=60)
    client.raise_workflow_event(instance_id, "approved", data="Ada")
    same(end(instance_id)[1], "approved by Ada")


@check("saga")
def _():
    same(run(saga)[1], "undone")
    same(undone, ["hotel", "flight"])


@check("failed")
def _():
    state, _output = run(broken)
    same(state.runtime_status.name, "FAILED")
    same("broken by design" in state.failure_details.message, True)


@check("early-events")
def _():
    instance_id = client.schedule_new_workflow(numbers)
    client.raise_workflow_event(instance_id, "number", data=1)
    client.raise_workflow_event(instance_id, "number", data=2)
    same(end(instance_id)[1], 3)


@check("suspend")
def _():
    instance_id = client.schedule_new_workflow(numbers)
    client.pause_workflow(instance_id)
    same(client.get_workflow_state(instance_id).runtime_status.name, "SUSPENDED")
    client.raise_workflow_event(instance_id, "number", data=1)
    client.raise_workflow_event(instance_id, "number", data=2)
    time.sleep(0.1)
    same(client.get_workflow_state(instance_id).runtime_status.name, "SUSPENDED")
    client.resume_workflow(instance_id)
    same(end(instance_id)[1], 3)


@check("carry-over")
def _():
    instance_id = client.schedule_new_workflow(collect, input={"left": 3, "sum": 0})
    client.pause_workflow(instance_id)
    for number in [1, 2, 4]:
        client.raise_workflow_event(instance_id, "number", data=number)
    client.resume_workflow(instance_id)
    same(end(instance_id)[1], 7)


@check("terminate")
def _():
    instance_id = client.schedule_new_workflow(numbers)
    client.terminate_workflow(instance_id, output="enough")
    state, output = end(instance_id)
    same([state.runtime_status.name, output], ["TERMINATED", "enough"])


@check("terminate-recursive")
def _():
    instance_id = client.schedule_new_workflow(holder)
    child = f"{instance_id}-child"
    until(lambda: client.get_workflow_state(child) is not None)
    client.terminate_workflow(instance_id, output="enough", recursive=True)
    same(end(instance_id)[0].runtime_status.name, "TERMINATED")
    same(end(child)[0].runtime_status.name, "TERMINATED")


@check("purge")
def _():
    state, _output = run(chain, 1)
    client.purge_workflow(state.instance_id)
    same(client.get_workflow_state(state.instance_id), None)


@check("purge-recursive")
def _():
    state, _output = run(parent, 1)
    child = f"{state.instance_id}:0001"
    same(client.get_workflow_state(child) is None, False)
    client.purge_workflow(state.instance_id, recursive=True)
    same(client.get_workflow_state(state.instance_id), None)
    same(client.get_workflow_state(child), None)


@check("list")
def _():
    started = {client.schedule_new_workflow(chain, input=1) for _ in range(5)}
    same(started <= set(client.iter_workflow_instance_ids(page_size=2)), True)


@check("history")
def _():
    state, _output = run(chain, 1)
    events = client.get_workflow_history(state.instance_id)
    same(len(events), 12)


@check("history-deltas")
def _():
    """A turn brings what is new since the one before; a worker that has lost the rest asks for it."""
    inner = runtime._WorkflowRuntime__worker
    resolve = inner._resolve_history
    # Turns of other workflows may still come.
    held = {}
    is_forgetful = False

    def watched(request):
        held.setdefault(request.instanceId, []).append(request.cachedHistory.eventCount)
        if is_forgetful:
            inner._history_cache.reset()
        return resolve(request)

    inner._resolve_history = watched
    state, output = run(chain, 1)
    same((output, held[state.instance_id]), (8, [0, 0, 3, 6]))
    is_forgetful = True
    state, output = run(chain, 2)
    same((output, held[state.instance_id]), (16, [0, 0, 3, 6]))
    inner._resolve_history = resolve


@check("rerun")
def _():
    state, _output = run(chain, 1)
    again = client.rerun_workflow_from_event(state.instance_id, 2, input=10)
    same(end(again)[1], 40)


@check("delayed-start")
def _():
    start_at = datetime.now(timezone.utc) + timedelta(milliseconds=1500)
    instance_id = client.schedule_new_workflow(chain, input=1, start_at=start_at)
    same(client.get_workflow_state(instance_id).runtime_status.name, "PENDING")
    same(end(instance_id)[1], 8)
    same(datetime.now(timezone.utc) >= start_at, True)


@check("duplicate")
def _():
    instance_id = client.schedule_new_workflow(numbers)
    try:
        client.schedule_new_workflow(numbers, instance_id=instance_id)
        refused = "accepted"
    except Exception as error:
        refused = str(error)
    same("already exists" in refused, True)
    client.terminate_workflow(instance_id)


@check("reuse")
def _():
    state, _output = run(chain, 1)
    client.schedule_new_workflow(chain, input=2, instance_id=state.instance_id)
    same(end(state.instance_id)[1], 16)


check("multi-app-activity")(lambda: same(run(abroad, 5)[1], 10))
check("multi-app-child")(lambda: same(run(abroad_child, 1)[1], 8))


@check("handed-history")
def _():
    """The history of the first execution of `heir` is handed on to its second one too."""
    state, output = run(grandparent, "LINEAGE")
    same(output, ["42", ["grandparent", "heir", "heir"], ["heir"]])
    again = client.rerun_workflow_from_event(state.instance_id, 2)
    same(end(again)[1], output)


@check("reconnect")
def _():
    """What happens while no worker is there is done by the next one."""
    global runtime
    instance_id = client.schedule_new_workflow(numbers)
    runtime.shutdown()
    client.raise_workflow_event(instance_id, "number", data=1)
    client.raise_workflow_event(instance_id, "number", data=2)
    runtime = worker()
    same(end(instance_id)[1], 3)


@check("version")
def _():
    """An instance goes on with the version that it began with."""
    global runtime
    old = client.schedule_new_workflow("evolving")
    client.wait_for_workflow_start(old)
    runtime.shutdown()
    runtime = worker(versions=["one", "two"])
    new = client.schedule_new_workflow("evolving")
    for instance_id in [old, new]:
        client.raise_workflow_event(instance_id, "go")
    same([end(old)[1], end(new)[1]], ["one", "two"])


@check("stalled")
def _():
    """No worker has the version: the instance stands still, until one has it."""
    global runtime
    runtime.shutdown()
    runtime = worker()
    instance_id = client.schedule_new_workflow("evolving")
    client.wait_for_workflow_start(instance_id)
    runtime.shutdown()
    runtime = worker(versions=["two"])
    client.raise_workflow_event(instance_id, "go")
    until(lambda: client.get_workflow_state(instance_id).runtime_status.name == "STALLED")
    runtime.shutdown()
    runtime = worker(versions=["one", "two"])
    same(end(instance_id)[1], "one")


client.close()
runtime.shutdown()
other.shutdown()
