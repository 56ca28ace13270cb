import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import type { HttpMiddleware } from "../../component/http-middleware.ts";
import { plainReply } from "../../net/http1/changed-request.ts";

export default component({
  type: "middleware.http.routerchecker",
  version: "v1",
  status: "alpha",
  summary: "Refuses requests whose path and query do not match a regular expression",
  metadata: {
    rule: text({ description: "regular expression over path and query; others get 400", required: true }),
  },
  async open({ rule }): Promise<HttpMiddleware> {
    const pattern = new RegExp(rule);
    return {
      handle: (request, next) =>
        pattern.test(request.target) ? next(request) : plainReply(400, "invalid router"),
      async close() {},
    };
  },
});
