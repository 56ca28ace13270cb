"""A worker that outlives its runtime: it writes a line for each step it is handed, and one for each that it runs.

What it was handed before its connection broke it runs after it has connected again, so the two tell who was late.
The JavaScript worker ends for good when its first connection breaks; this one connects again.
"""

import json
import os
import signal
import sys
import time

import dapr.ext.workflow as wf
import grpc

journal = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def write(what, instance_id, number):
    os.write(journal, f"{what} {time.time_ns() // 1_000_000} {instance_id} {number}\n".encode())


class Handed(grpc.UnaryStreamClientInterceptor):
    def intercept_unary_stream(self, continuation, client_call_details, request):
        return Items(continuation(client_call_details, request))


class Items:
    def __init__(self, call):
        self._call = call

    def __getattr__(self, name):
        return getattr(self._call, name)

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self._call)
        if item.HasField("activityRequest"):
            request = item.activityRequest
            given = json.loads(request.input.value)
            write("handed", given["id"], given["number"])
        return item


runtime = wf.WorkflowRuntime(interceptors=[Handed()])


@runtime.activity
def step(ctx, given):
    write("ran", given["id"], given["number"])
    return given["number"]


@runtime.workflow
def steps(ctx, count):
    total = 0
    for number in range(1, count + 1):
        total += yield ctx.call_activity(step, input={"id": ctx.instance_id, "number": number})
    return total


runtime.start()
signal.pause()
