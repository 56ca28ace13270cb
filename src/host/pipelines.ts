import type { HttpMiddleware } from "../component/http-middleware.ts";
import { plainReply } from "../net/http1/changed-request.ts";
import type { HttpHandler, HttpReply, HttpRequest } from "../net/http1/types.ts";
import type { Configuration, PipelineHandler } from "../resource/resource.ts";
import type { Log } from "../telemetry/telemetry.ts";
import type { RuntimeResources } from "./resources.ts";

export interface PipelineRequest {
  resources: Pick<RuntimeResources, "configuration" | "components">;
  log: Log;
  /** Which of the two pipelines. */
  pick(configuration: Configuration): readonly PipelineHandler[];
}

/** The middleware that stands before a handler: what the Configuration names, as it is at each request. */
export interface Pipeline {
  readonly isEmpty: boolean;
  run(request: HttpRequest, last: HttpHandler): HttpReply | Promise<HttpReply>;
}

/** Opens a pipeline of the Configuration. Throws when it names a component that is not there. */
export function openPipeline({ resources, log, pick }: PipelineRequest): Pipeline {
  const handlers = (): readonly PipelineHandler[] => pick(resources.configuration);
  for (const handler of handlers()) find(resources, handler);
  return {
    get isEmpty() {
      return handlers().length === 0;
    },
    run(request, last) {
      let middleware: HttpMiddleware[];
      try {
        middleware = handlers().map((handler) => find(resources, handler));
      } catch (error) {
        // It was there at the start. What it would have refused is not known, so nothing passes.
        log.error({}, `a request is refused: ${(error as Error).message}`);
        return plainReply(500, "a middleware of the pipeline is not loaded");
      }
      const from = (index: number): HttpHandler => {
        const next = middleware[index];
        return next === undefined ? last : (each) => next.handle(each, from(index + 1));
      };
      return from(0)(request);
    },
  };
}

function find({ components }: PipelineRequest["resources"], wanted: PipelineHandler): HttpMiddleware {
  const found = components.find("middleware", wanted.name);
  const isWanted = found !== undefined && keyOf(found) === keyOf(wanted);
  if (isWanted) return found.instance;
  const { name, type, version } = wanted;
  throw new Error(`couldn't find middleware component with name ${name} and type ${type}/${version}`);
}

function keyOf({ type, version }: { type: string; version: string }): string {
  return `${type}/${version || "v1"}`.toLowerCase();
}
