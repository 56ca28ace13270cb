"""Takes orders. What costs more than the limit waits until a person decides, or until nobody has for too long.

    POST /orders            {"id": "7", "item": "desk", "amount": 900, "patienceSeconds": 3600}
    POST /orders/7/decision {"by": "Ada", "approved": true}
    GET  /orders/7
"""

import json
import os
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dapr.ext.workflow as wf

LIMIT = 500

runtime = wf.WorkflowRuntime()
client = wf.DaprWorkflowClient()


@runtime.workflow
def order(ctx, given):
    if given["amount"] > LIMIT:
        ctx.set_custom_status("waits for a decision")
        decision = ctx.wait_for_external_event("decision")
        timeout = ctx.create_timer(timedelta(seconds=given["patienceSeconds"]))
        first = yield wf.when_any([decision, timeout])
        if first == timeout:
            ctx.set_custom_status("nobody decided")
            yield ctx.call_activity(tell, input=f"order {given['id']}: nobody decided in time")
            return {"status": "expired"}
        decided = decision.get_result()
        ctx.set_custom_status(f"decided by {decided['by']}")
        if not decided["approved"]:
            yield ctx.call_activity(tell, input=f"order {given['id']}: {decided['by']} said no")
            return {"status": "refused", "by": decided["by"]}
    receipt = yield ctx.call_activity(charge, input=given)
    yield ctx.call_activity(tell, input=f"order {given['id']}: {given['item']} is on its way")
    return {"status": "shipped", "receipt": receipt}


@runtime.activity
def charge(ctx, given):
    # The same for each attempt: whoever takes the money recognises a second one.
    return f"{ctx.workflow_id}-{given['amount']}"


@runtime.activity
def tell(ctx, text):
    print(text, flush=True)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        match self.path.strip("/").split("/"):
            case ["orders"]:
                given = {"patienceSeconds": 3600, **self.body()}
                missing = [name for name in ("id", "item", "amount") if name not in given]
                if missing:
                    return self.answer(400, {"missing": missing})
                client.schedule_new_workflow(order, input=given, instance_id=f"order-{given['id']}")
                self.answer(202, {"id": given["id"]})
            case ["orders", number, "decision"]:
                client.raise_workflow_event(f"order-{number}", "decision", data=self.body())
                self.answer(202, {})
            case _:
                self.answer(404, {})

    def do_GET(self):
        match self.path.strip("/").split("/"):
            case ["orders", number]:
                state = client.get_workflow_state(f"order-{number}")
                if state is None:
                    return self.answer(404, {})
                result = json.loads(state.serialized_output) if state.serialized_output else {}
                status = state.serialized_custom_status or "accepted"
                self.answer(200, {"status": status, **result})
            case _:
                self.answer(404, {})

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["content-length"])))

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


runtime.start()
server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), Handler)
server.serve_forever()
