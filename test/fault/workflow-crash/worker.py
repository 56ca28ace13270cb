"""A worker that outlives its runtime: it writes a line for each execution of a step, then the step is done.

The JavaScript worker ends for good when its first connection breaks; this one connects again.
"""

import os
import signal
import sys
import time

import dapr.ext.workflow as wf

runtime = wf.WorkflowRuntime()
journal = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


@runtime.activity
def step(ctx, given):
    os.write(journal, f"{time.time_ns() // 1_000_000} {given['id']} {given['number']}\n".encode())
    return given["number"]


@runtime.workflow
def steps(ctx, count):
    total = 0
    for number in range(1, count + 1):
        total += yield ctx.call_activity(step, input={"id": ctx.instance_id, "number": number})
    return total


runtime.start()
signal.pause()
