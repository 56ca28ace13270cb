"""The server apps: FastAPI with the SDK's extension, and the SDK's gRPC app with the greeter service beside it."""

import json
import os
from collections import Counter

import greeter_pb2
import greeter_pb2_grpc
import uvicorn
from dapr.clients.grpc._response import TopicEventResponseStatus
from dapr.ext.fastapi import DaprApp
from dapr.ext.grpc import (
    App,
    InvokeMethodRequest,
    InvokeMethodResponse,
    JobEvent,
    Rule,
    SubscriptionMessage,
    TopicEventResponse,
)
from fastapi import Body, FastAPI, Request, Response

port = int(os.environ.get("APP_PORT", "0"))
received: list[dict] = []


def keep(route: str, data: object) -> None:
    received.append({"route": route, "data": data})


def serve_http() -> None:
    app = FastAPI()
    dapr_app = DaprApp(app)

    @app.get("/healthz")
    def healthz() -> dict:
        return {}

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type=request.headers.get("content-type"))

    @app.post("/fail")
    def fail() -> Response:
        return Response("short and stout", status_code=418)

    @app.get("/received")
    def list_received() -> list:
        return received

    @dapr_app.subscribe(pubsub="pubsub", topic="plain", route="/plain")
    def plain(event: dict = Body()) -> dict:
        keep("plain", event["data"])
        return {"status": "SUCCESS"}

    # The extension knows neither rules nor bulk: subscriptions.yaml names these routes.
    @app.post("/special")
    def special(event: dict = Body()) -> None:
        keep("special", event["data"])

    @app.post("/default")
    def default(event: dict = Body()) -> None:
        keep("default", event["data"])

    @app.post("/bulk")
    def bulk(batch: dict = Body()) -> dict:
        for entry in batch["entries"]:
            keep("bulk", entry["event"]["data"])
        return {"statuses": [{"entryId": entry["entryId"], "status": "SUCCESS"} for entry in batch["entries"]]}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


class Greeter(greeter_pb2_grpc.GreeterServicer):
    def Greet(self, request, context):
        return greeting(request.name)

    def GreetMany(self, request, context):
        for n in range(3):
            yield greeting(f"{request.name} {n}")

    def GreetAll(self, requests, context):
        for request in requests:
            yield greeting(request.name)


def greeting(name: str) -> greeter_pb2.GreetResponse:
    return greeter_pb2.GreetResponse(text=f"hello {name}")


def serve_grpc() -> None:
    app = App()
    app.add_external_service(greeter_pb2_grpc.add_GreeterServicer_to_server, Greeter())
    app.register_health_check(lambda: None)

    @app.method(name="echo")
    def echo(request: InvokeMethodRequest) -> InvokeMethodResponse:
        return InvokeMethodResponse(request.data, request.content_type or "text/plain")

    @app.method(name="received")
    def list_received(request: InvokeMethodRequest) -> str:
        return json.dumps(received)

    @app.subscribe(pubsub_name="pubsub", topic="plain")
    def plain(event) -> TopicEventResponse:
        keep("plain", json.loads(event.Data()))
        return TopicEventResponse(TopicEventResponseStatus.success)

    # A list of rules without a default route drops the rest, so that the default is a rule, too.
    @app.subscribe(pubsub_name="pubsub", topic="routed", rule=Rule('event.type == "special"', 1))
    def special(event) -> None:
        keep("special", json.loads(event.Data()))

    # The annotation chooses the kind of event that the SDK hands over; without one it is a CloudEvent.
    @app.subscribe(pubsub_name="pubsub", topic="routed", rule=Rule("has(event.id)", 2))
    def default(message: SubscriptionMessage) -> None:
        keep("default", message.data())

    # subscriptions.yaml delivers the topic `bulk` in bulk to this path, which the SDK looks up without the topic.
    @app.subscribe(pubsub_name="pubsub", topic="bulk-path", disable_topic_validation=True)
    def bulk(event) -> None:
        keep("bulk", json.loads(event.Data()))

    tries = Counter()

    def on_job(event: JobEvent) -> None:
        """`job-retried` succeeds the third time, `job-dropped` never."""
        keep(event.name, json.loads(event.get_data_as_string()))
        tries[event.name] += 1
        if event.name == "job-dropped" or (event.name == "job-retried" and tries[event.name] < 3):
            raise ValueError("not now")

    for name in ("once", "every", "cron", "overwrite", "delete", "retried", "dropped"):
        app.job_event(f"job-{name}")(on_job)

    app.run(port, "127.0.0.1")
