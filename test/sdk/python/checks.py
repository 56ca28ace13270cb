"""The client's checks. The SDK speaks gRPC, and HTTP for the invocation of services."""

import asyncio
import json
import os
import threading
import time
import uuid
import warnings

import greeter_pb2
import greeter_pb2_grpc
import grpc
from dapr.aio.clients import DaprClient as AsyncDaprClient
from dapr.clients import BulkPublishEntry, DaprClient
from dapr.clients.exceptions import DaprGrpcError, DaprHttpError
from dapr.clients.grpc._crypto import DecryptOptions, EncryptOptions
from dapr.clients.grpc._request import TransactionalStateOperation, TransactionOperationType
from dapr.clients.grpc._response import TopicEventResponse, UnlockResponseStatus
from dapr.clients.grpc._state import Concurrency, StateItem, StateOptions
from dapr.clients.grpc.client import DaprGrpcClient
from dapr.clients.grpc.conversation import (
    ConversationInputAlpha2,
    ConversationMessage,
    ConversationMessageOfAssistant,
    ConversationTools,
    ConversationToolsFunction,
    create_system_message,
    create_tool_message,
    create_user_message,
)

STORE = "statestore"
first_write = StateOptions(concurrency=Concurrency.first_write)


def run() -> None:
    # The lock API warns that it is in alpha.
    warnings.simplefilter("ignore")
    with DaprClient() as client:
        check("state", lambda: state(client))
        check("state-etag", lambda: state_etag(client))
        check("state-transaction", lambda: state_transaction(client))
        check("state-query", lambda: state_query(client))
        skip("publish-http", "the SDK publishes over gRPC only")
        check("publish-grpc", lambda: publish(client))
        check("publish-routing", lambda: publish_routing(client))
        check("publish-bulk", lambda: publish_bulk(client))
        check("subscribe-stream", lambda: subscribe_stream(client))
        check("subscribe-handler", lambda: subscribe_handler(client))
        check("invoke-http", lambda: invoke_http(client))
        check("invoke-error", lambda: invoke_error(client))
        check("invoke-grpc", invoke_grpc)
        check("invoke-proxy", invoke_proxy)
        check("secrets", lambda: secrets(client))
        check("secrets-bulk", lambda: secrets_bulk(client))
        check("configuration", lambda: configuration(client))
        check("configuration-subscribe", lambda: configuration_subscribe(client))
        check("lock", lambda: lock(client))
        check("crypto", lambda: crypto(client))
        check("conversation", lambda: conversation(client))
        check("metadata", lambda: metadata(client))
    check("asyncio", lambda: asyncio.run(with_asyncio()))


def state(client: DaprClient) -> None:
    client.save_state(STORE, "py", json.dumps({"text": "käse", "n": 1}))
    client.save_bulk_state(STORE, [StateItem("py-2", '"two"'), StateItem("py-raw", b"\x00\xff raw")])
    same(client.get_state(STORE, "py").json(), {"text": "käse", "n": 1})
    same(client.get_state(STORE, "py-raw").data, b"\x00\xff raw")
    bulk = client.get_bulk_state(STORE, ["py", "py-2", "py-none"], parallelism=2)
    same({item.key: item.data for item in bulk.items}["py-2"], b'"two"')
    client.delete_state(STORE, "py")
    same(client.get_state(STORE, "py").data, b"")


def state_etag(client: DaprClient) -> None:
    client.save_state(STORE, "py-etag", "1")
    etag = client.get_state(STORE, "py-etag").etag
    client.save_state(STORE, "py-etag", "2", etag=etag, options=first_write)
    for stale in (
        lambda: client.save_state(STORE, "py-etag", "3", etag=etag, options=first_write),
        lambda: client.delete_state(STORE, "py-etag", etag=etag, options=first_write),
    ):
        same(raised(DaprGrpcError, stale).code(), grpc.StatusCode.ABORTED)
    same(client.get_state(STORE, "py-etag").data, b"2")


def state_transaction(client: DaprClient) -> None:
    client.save_state(STORE, "py-tx-old", "1")
    upsert = TransactionalStateOperation("py-tx-new", '"new"')
    delete = TransactionalStateOperation("py-tx-old", operation_type=TransactionOperationType.delete)
    client.execute_state_transaction(STORE, [upsert, delete])
    same(client.get_state(STORE, "py-tx-new").data, b'"new"')
    same(client.get_state(STORE, "py-tx-old").data, b"")
    # All or nothing: the stale etag keeps the other operation out, too.
    stale = TransactionalStateOperation("py-tx-new", '"newer"', etag="999999")
    other = TransactionalStateOperation("py-tx-other", "1")
    raised(DaprGrpcError, lambda: client.execute_state_transaction(STORE, [other, stale]))
    same(client.get_state(STORE, "py-tx-other").data, b"")


def state_query(client: DaprClient) -> None:
    items = [
        StateItem(f"py-query-{n}", json.dumps({"group": "py-query", "n": n}), metadata={"contentType": "application/json"})
        for n in (1, 2, 3)
    ]
    client.save_bulk_state(STORE, items)
    query = {
        "filter": {"EQ": {"group": "py-query"}},
        "sort": [{"key": "n", "order": "DESC"}],
        "page": {"limit": 2},
    }
    found = client.query_state(STORE, json.dumps(query))
    same([item.json()["n"] for item in found.results], [3, 2])
    query["page"]["token"] = found.token
    rest = client.query_state(STORE, json.dumps(query))
    same([item.json()["n"] for item in rest.results], [1])


def publish(client: DaprClient) -> None:
    event_id = unique("plain")
    client.publish_event("pubsub", "plain", json.dumps({"id": event_id}), data_content_type="application/json")
    for app in ("http-app", "grpc-app"):
        arrived(client, app, lambda event: event["route"] == "plain" and event["data"].get("id") == event_id)


def publish_routing(client: DaprClient) -> None:
    event_id = unique("routing")
    for kind, extra in (("special", {"cloudevent.type": "special"}), ("default", {})):
        data = json.dumps({"id": event_id, "kind": kind})
        client.publish_event(
            "pubsub", "routed", data, publish_metadata=extra, data_content_type="application/json"
        )
    for app in ("http-app", "grpc-app"):
        for kind in ("special", "default"):
            arrived(client, app, lambda event: event["data"].get("id") == event_id and event["route"] == kind)
        kinds = [
            (event["route"], event["data"]["kind"])
            for event in received_by(client, app)
            if event["data"].get("id") == event_id
        ]
        same(sorted(kinds), [("default", "default"), ("special", "special")])


def publish_bulk(client: DaprClient) -> None:
    event_id = unique("bulk")
    events = [json.dumps({"id": event_id, "n": n}) for n in (1, 2, 3)]
    last = BulkPublishEntry(event=events[2], content_type="application/json", metadata={"ttlInSeconds": "60"})
    sent = client.publish_events("pubsub", "bulk", [*events[:2], last], data_content_type="application/json")
    same(len(sent.failed_entries), 0)
    for app in ("http-app", "grpc-app"):
        for n in (1, 2, 3):
            wanted = {"id": event_id, "n": n}
            arrived(client, app, lambda event: event["route"] == "bulk" and event["data"] == wanted)


def subscribe_stream(client: DaprClient) -> None:
    topic = unique("stream")
    subscription = client.subscribe("pubsub", topic)
    try:
        client.publish_event("pubsub", topic, json.dumps({"n": 1}), data_content_type="application/json")
        message = subscription.next_message()
        same((message.data(), message.topic(), message.pubsub_name()), ({"n": 1}, topic, "pubsub"))
        # What is not finished comes again.
        subscription.respond_retry(message)
        again = subscription.next_message()
        same((again.id(), again.data()), (message.id(), {"n": 1}))
        subscription.respond_success(again)
        client.publish_event("pubsub", topic, "dropped", data_content_type="text/plain")
        text = subscription.next_message()
        same(text.data(), "dropped")
        subscription.respond_drop(text)
    finally:
        subscription.close()


def subscribe_handler(client: DaprClient) -> None:
    topic = unique("handler")
    seen: list[object] = []

    def on_message(message) -> TopicEventResponse:
        seen.append(message.data())
        return TopicEventResponse("success")

    close = client.subscribe_with_handler("pubsub", topic, on_message)
    try:
        for n in (1, 2, 3):
            client.publish_event("pubsub", topic, json.dumps({"n": n}), data_content_type="application/json")
        until("the three messages", lambda: len(seen) == 3)
        same(sorted(message["n"] for message in seen), [1, 2, 3])
    finally:
        close()


def invoke_http(client: DaprClient) -> None:
    reply = client.invoke_method(
        "http-app", "echo", json.dumps({"n": 1}), content_type="application/json", http_verb="POST"
    )
    same((reply.status_code, reply.json()), (200, {"n": 1}))


def invoke_error(client: DaprClient) -> None:
    error = raised(DaprHttpError, lambda: client.invoke_method("http-app", "fail", http_verb="POST"))
    same((error.status_code, error.raw_response_bytes), (418, b"short and stout"))


def invoke_grpc() -> None:
    with DaprGrpcClient() as client:
        reply = client.invoke_method("grpc-app", "echo", b"hello", content_type="text/plain")
        same((reply.data, reply.content_type), (b"hello", "text/plain"))
        # InvokeService reaches an HTTP app, too, and brings its status back.
        reply = client.invoke_method("http-app", "echo", b'{"n":1}', "application/json", http_verb="POST")
        same(json.loads(reply.data), {"n": 1})
        error = raised(grpc.RpcError, lambda: client.invoke_method("http-app", "fail", b"", http_verb="POST"))
        same((error.code(), error.details()), (grpc.StatusCode.UNKNOWN, "I'm a teapot"))
        same(DaprGrpcError(error).status_details().error_info["metadata"]["http.code"], "418")


def invoke_proxy() -> None:
    metadata = (("dapr-app-id", "grpc-app"),)
    with grpc.insecure_channel(f"127.0.0.1:{os.environ['DAPR_GRPC_PORT']}") as channel:
        greeter = greeter_pb2_grpc.GreeterStub(channel)
        same(greeter.Greet(greeter_pb2.GreetRequest(name="ann"), metadata=metadata).text, "hello ann")
        many = greeter.GreetMany(greeter_pb2.GreetRequest(name="ann"), metadata=metadata)
        same([reply.text for reply in many], ["hello ann 0", "hello ann 1", "hello ann 2"])
        # Each request waits for the answer to the one before: the call really runs in both directions.
        answered = threading.Semaphore(1)

        def requests():
            for name in ("ann", "bob", "eve"):
                if not answered.acquire(timeout=10):
                    raise TimeoutError("the call does not run in both directions")
                yield greeter_pb2.GreetRequest(name=name)

        texts = []
        for reply in greeter.GreetAll(requests(), metadata=metadata, timeout=15):
            texts.append(reply.text)
            answered.release()
        same(texts, ["hello ann", "hello bob", "hello eve"])


def secrets(client: DaprClient) -> None:
    same(client.get_secret("filesecrets", "sdk-secret").secret, {"sdk-secret": "hush"})


def secrets_bulk(client: DaprClient) -> None:
    found = client.get_bulk_secret("filesecrets").secrets
    same((found["sdk-secret"], found["nested:inner"]), ({"sdk-secret": "hush"}, {"nested:inner": "deep"}))


def configuration(client: DaprClient) -> None:
    items = client.get_configuration("configstore", ["sdk-item"]).items
    same({key: item.value for key, item in items.items()}, {"sdk-item": "one"})


def configuration_subscribe(client: DaprClient) -> None:
    values: list[str] = []

    def on_change(_id, response) -> None:
        values.extend(item.value for key, item in response.items.items() if key == "sdk-live")

    subscription = client.subscribe_configuration("configstore", ["sdk-live"], on_change)
    say("want sdk-live")
    until("the changed item", lambda: "after" in values)
    same(client.unsubscribe_configuration("configstore", subscription), True)


def lock(client: DaprClient) -> None:
    same(client.try_lock("lockstore", "py-lock", "a", 60).success, True)
    same(client.try_lock("lockstore", "py-lock", "b", 60).success, False)
    for owner, status in (
        ("b", UnlockResponseStatus.lock_belongs_to_others),
        ("a", UnlockResponseStatus.success),
        ("a", UnlockResponseStatus.lock_does_not_exist),
    ):
        same(client.unlock("lockstore", "py-lock", owner).status, status)
    with client.try_lock("lockstore", "py-lock", "c", 60) as held:
        same(held.success, True)
    same(client.try_lock("lockstore", "py-lock", "d", 60).success, True)


def crypto(client: DaprClient) -> None:
    encryption = EncryptOptions(component_name="vault", key_name="sdk-key", key_wrap_algorithm="AES")
    decryption = DecryptOptions(component_name="vault", key_name="sdk-key")
    # The SDK sends nothing at all for nothing, so the smallest document has a byte.
    for size in (1, 65_535, 65_536, 65_537, 10 << 20):
        plaintext = os.urandom(size)
        document = client.encrypt(data=plaintext, options=encryption).read()
        same(client.decrypt(data=document, options=decryption).read() == plaintext, True)
        changed = document[:-1] + bytes([document[-1] ^ 1])
        try:
            client.decrypt(data=changed, options=decryption).read()
        except grpc.RpcError:
            continue
        raise AssertionError(f"a changed document of {size} bytes was taken")


def conversation(client: DaprClient) -> None:
    def answer(component: str, messages: list, **options):
        inputs = [ConversationInputAlpha2(messages=messages, scrub_pii=True)]
        return client.converse_alpha2(component, inputs, **options).outputs[0]

    said = answer("echo", [create_user_message("write to me@example.com")])
    same(said.choices[0].message.content, "write to <EMAIL_ADDRESS>")
    same(said.usage.total_tokens, 6)

    schema = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
    tool = ConversationTools(function=ConversationToolsFunction("weather", "of a place", schema))
    messages = [create_system_message("be brief"), create_user_message("how is the weather?")]
    called = answer("gpt", messages, tools=[tool], tool_choice="required", temperature=0.5).choices[0]
    same(called.finish_reason, "tool_calls")
    function = called.message.tool_calls[0].function
    same((function.name, json.loads(function.arguments)), ("weather", {"place": "Zürich"}))
    result = create_tool_message(called.message.tool_calls[0].id, "weather", "sun")
    messages += [*said_by(called), result]
    same(answer("gpt", messages, tools=[tool]).choices[0].message.content, "You said: sun")
    try:
        answer("nobody", messages)
    except grpc.RpcError:
        return
    raise AssertionError("a component that is not there answered")


def said_by(choice) -> list:
    return [ConversationMessage(of_assistant=ConversationMessageOfAssistant(tool_calls=choice.message.tool_calls))]


def metadata(client: DaprClient) -> None:
    client.set_metadata("py", "seen")
    found = client.get_metadata()
    same((found.application_id, found.extended_metadata["py"]), ("client", "seen"))
    stores = [each for each in found.registered_components if each.name == STORE]
    same(["ETAG" in each.capabilities for each in stores], [True])


async def with_asyncio() -> None:
    async with AsyncDaprClient() as client:
        await client.save_state(STORE, "py-async", "1")
        same((await client.get_state(STORE, "py-async")).data, b"1")
        topic = unique("async")
        subscription = await client.subscribe("pubsub", topic)
        await client.publish_event("pubsub", topic, '{"n":1}', data_content_type="application/json")
        message = await asyncio.wait_for(subscription.next_message(), 15)
        same(message.data(), {"n": 1})
        await subscription.respond_success(message)
        await subscription.close()
        reply = await client.invoke_method("http-app", "echo", "x", content_type="text/plain", http_verb="POST")
        same(reply.data, b"x")


def arrived(client: DaprClient, app: str, is_it) -> None:
    def once() -> bool:
        count = sum(1 for event in received_by(client, app) if is_it(event))
        if count > 1:
            raise AssertionError(f"{app} got the event {count} times")
        return count == 1

    until(f"the event at {app}", once)


def received_by(client: DaprClient, app: str) -> list[dict]:
    verb = "GET" if app == "http-app" else "POST"
    return json.loads(client.invoke_method(app, "received", b"", http_verb=verb).data)


def unique(name: str) -> str:
    return f"py-{name}-{uuid.uuid4()}"


def until(what: str, is_so) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if is_so():
            return
        time.sleep(0.05)
    raise TimeoutError(f"waited 15 s for {what}")


def same(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"got {found!r}, wanted {wanted!r}")


def raised(kind: type, work):
    try:
        work()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


def check(name: str, work) -> None:
    try:
        work()
        say(f"ok {name}")
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        say(f"not ok {name}: {reason[:500]}")


def skip(name: str, reason: str) -> None:
    say(f"skip {name}: {reason}")


def say(line: str) -> None:
    # One write: checks run side by side, and `print` writes its end of line apart.
    print(f"{line}\n", end="", flush=True)
