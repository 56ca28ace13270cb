"""Worker and client of the Python SDK. Each line of stdin, `COUNT PARALLEL`, runs so many chains of three activities,
so many at once, and answers with a line: the milliseconds each took, as JSON."""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import dapr.ext.workflow as wf


def add(ctx, value):
    return value + 1


def chain(ctx, value):
    for _ in range(3):
        value = yield ctx.call_activity(add, input=value)
    return value


runtime = wf.WorkflowRuntime(port=sys.argv[1])
runtime.register_workflow(chain)
runtime.register_activity(add)
runtime.start()
runtime.wait_for_worker_ready()
client = wf.DaprWorkflowClient(port=sys.argv[1])


def one(_):
    started = time.perf_counter()
    instance_id = client.schedule_new_workflow(chain, input=1)
    state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
    if state.serialized_output != "4":
        raise AssertionError(f"a chain ended with {state.serialized_output}")
    return (time.perf_counter() - started) * 1000


print("ready", flush=True)
for line in sys.stdin:
    count, parallel = map(int, line.split())
    with ThreadPoolExecutor(parallel) as lanes:
        print(json.dumps(list(lanes.map(one, range(count)))), flush=True)
os._exit(0)
