"""The checks of jobs. A job calls the app that scheduled it, so the client speaks to the runtime of the gRPC app."""

import json
import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import grpc
from checks import check, received_by, same, until
from dapr.clients import ConstantFailurePolicy, DaprClient, DropFailurePolicy, Job
from dapr.clients.exceptions import DaprGrpcError
from dapr.proto import api_v1
from google.protobuf.any_pb2 import Any


def run() -> None:
    warnings.simplefilter("ignore")
    with DaprClient(f"127.0.0.1:{os.environ['GRPC_APP_GRPC_PORT']}") as app:
        works = [once, every, cron, get, overwrite, delete, retried, dropped, listed, delete_by_prefix]
        names = ["list" if work is listed else work.__name__.replace("_", "-") for work in works]
        # Side by side: most of them wait for the second hand.
        with ThreadPoolExecutor(len(works)) as pool:
            for name, work in zip(names, works):
                pool.submit(check, f"job-{name}", lambda work=work: work(app))


def once(app: DaprClient) -> None:
    app.schedule_job(job("job-once", due_time="100ms"))
    gone(app, "job-once")
    same(fires("job-once"), ["a"])


def every(app: DaprClient) -> None:
    # The alpha name, which the SDK keeps.
    app.schedule_job_alpha1(job("job-every", schedule="@every 1s", repeats=2))
    gone(app, "job-every")
    same(fires("job-every"), ["a", "a"])


def cron(app: DaprClient) -> None:
    app.schedule_job(job("job-cron", schedule="TZ=Europe/Berlin * * * * * *", ttl="2500ms"))
    gone(app, "job-cron")
    got = fires("job-cron")
    if not 1 <= len(got) <= 3:
        raise AssertionError(f"got {got!r}")


def get(app: DaprClient) -> None:
    policy = ConstantFailurePolicy(max_retries=4, interval_seconds=5)
    asked = job("job-get", schedule="@daily", due_time="1h", ttl="72h", repeats=7, failure_policy=policy)
    app.schedule_job(asked)
    found = app.get_job("job-get")
    same(vars(found.failure_policy), vars(policy))
    found.failure_policy = policy
    same(found, asked)


def overwrite(app: DaprClient) -> None:
    app.schedule_job(job("job-overwrite", data="old", due_time="1h"))
    try:
        app.schedule_job(job("job-overwrite", data="new", due_time="100ms"))
        raise AssertionError("a second job of one name was not refused")
    except DaprGrpcError as error:
        same(error.code(), grpc.StatusCode.ALREADY_EXISTS)
    app.schedule_job(job("job-overwrite", data="new", due_time="100ms"), overwrite=True)
    gone(app, "job-overwrite")
    same(fires("job-overwrite"), ["new"])


def delete(app: DaprClient) -> None:
    app.schedule_job(job("job-delete", due_time="1h"))
    app.delete_job("job-delete")
    gone(app, "job-delete")
    same(fires("job-delete"), [])


def retried(app: DaprClient) -> None:
    # The SDK counts whole seconds.
    policy = ConstantFailurePolicy(max_retries=5, interval_seconds=0)
    app.schedule_job(job("job-retried", due_time="1ms", failure_policy=policy))
    gone(app, "job-retried")
    same(fires("job-retried"), ["a", "a", "a"])


def dropped(app: DaprClient) -> None:
    app.schedule_job(job("job-dropped", due_time="1ms", failure_policy=DropFailurePolicy()))
    gone(app, "job-dropped")
    same(fires("job-dropped"), ["a"])


# The SDK has no call for the two: the client that it is made of has.
def listed(app: DaprClient) -> None:
    for name in ("list-1", "list-2"):
        app.schedule_job(job(name, schedule="@yearly"))
    same(names_of(app, "list-"), ["list-1", "list-2"])


def delete_by_prefix(app: DaprClient) -> None:
    for name in ("prefix-1", "prefix-2", "other-prefix-3"):
        app.schedule_job(job(name, schedule="@yearly"))
    app._stub.DeleteJobsByPrefixAlpha1(api_v1.DeleteJobsByPrefixRequestAlpha1(name_prefix="prefix-"))
    same(names_of(app, "prefix-"), [])
    same(names_of(app, "other-prefix-"), ["other-prefix-3"])


def names_of(app: DaprClient, prefix: str) -> list[str]:
    jobs = app._stub.ListJobsAlpha1(api_v1.ListJobsRequestAlpha1()).jobs
    return sorted(each.name for each in jobs if each.name.startswith(prefix))


def job(name: str, data: str = "a", **fields) -> Job:
    return Job(name, data=Any(value=json.dumps(data).encode()), **fields)


def gone(app: DaprClient, name: str) -> None:
    """Waits until the runtime has forgotten the job."""

    def is_gone() -> bool:
        try:
            app.get_job(name)
        except DaprGrpcError as error:
            return "job not found" in str(error)
        return False

    until(f"the end of {name}", is_gone)


def fires(name: str) -> list:
    """What the app got of a job. A client of its own: invocation over HTTP is that of the client's runtime."""
    with DaprClient() as client:
        return [event["data"] for event in received_by(client, "grpc-app") if event["route"] == name]
