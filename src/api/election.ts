import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ElectionEvent } from "../engine/leases/candidate.ts";
import { errors } from "../errors.ts";
import { after } from "../kit/after.ts";
import {
  CampaignEvent_Kind,
  type CampaignEventSchema,
  Election,
  type GetLeaderResponse,
} from "../wire/mecha/election/v1alpha1/election_pb.js";
import type { AppScope } from "./call.ts";
import { failures, text } from "./docs.ts";
import { ElectionQueue } from "./election-queue.ts";
import { httpOnly, operation, streaming } from "./operation.ts";
import { jsonReply, noContent } from "./reply.ts";
import { members, parseBody, textOf } from "./state-json.ts";

const group = { name: "election", version: "v1.0-alpha1" };
const path = "/v1.0-alpha1/mecha/election/{group}";
const whole = { type: "integer", minimum: 0 };
const campaignFailures = {
  400: "ERR_ELECTION_NAME, ERR_MALFORMED_REQUEST",
  403: "ERR_ELECTION_FORBIDDEN",
  429: "ERR_ELECTION_TOO_MANY",
};

const kinds = {
  leading: CampaignEvent_Kind.LEADING,
  renewed: CampaignEvent_Kind.RENEWED,
  lost: CampaignEvent_Kind.LOST,
  following: CampaignEvent_Kind.FOLLOWING,
} as const;

/** The stream is the candidacy: whoever closes it resigns. */
const campaign = streaming(Election.method.campaign, {
  name: "Campaign",
  group,
  async handle(requests, send, call) {
    for await (const request of requests) {
      for await (const event of eventsOf(call.app, request, call.signal)) await send(messageOf(event));
      return;
    }
  },
});

const campaignHttp = httpOnly({
  name: "Campaign",
  group,
  verbs: ["POST"],
  path: `${path}/campaign`,
  async handle(http) {
    const candidate = candidateOf(await http.jsonText());
    const events = eventsOf(http.app, { group: http.param("group"), candidate }, http.request.signal);
    const headers = ["Content-Type", "text/event-stream", "Cache-Control", "no-store"];
    return { status: 200, headers, body: serverSentEvents(events) };
  },
  docs: {
    summary: "Campaign for the leadership of a group for as long as the stream is open",
    body: { "application/json": { type: "object", properties: { candidate: text } } },
    replies: {
      200: {
        description: "Events: leading, renewed, lost, following",
        contentType: "text/event-stream",
        schema: {
          type: "object",
          properties: { leader: text, term: whole, fencingToken: whole, validForMs: whole, reason: text },
        },
      },
      ...failures(campaignFailures),
    },
  },
});

const leaderSchema = {
  type: "object",
  required: ["group", "term", "fencingToken"],
  properties: {
    group: text,
    leader: text,
    term: whole,
    fencingToken: whole,
    since: { type: "string", format: "date-time" },
    expiresAt: { type: "string", format: "date-time" },
  },
};

const getLeader = operation(Election.method.getLeader, {
  name: "GetLeader",
  group,
  http: {
    verbs: ["GET"],
    path: `${path}/leader`,
    request: (http) => ({ group: http.param("group") }),
    reply: (response) => jsonReply(leaderJson(response as GetLeaderResponse)),
    docs: {
      summary: "Who leads a group",
      replies: {
        200: {
          description: "The leader; without one the newest term",
          contentType: "application/json",
          schema: leaderSchema,
        },
        ...failures({ ...campaignFailures, 500: "ERR_ELECTION" }),
      },
    },
  },
  async handle({ group: name }, { app }) {
    const { leader = "", term, fencingToken, sinceMs = 0, expiresAtMs = 0 } = await app.elections.state(name);
    return {
      group: name,
      leader,
      term: BigInt(term),
      fencingToken: BigInt(fencingToken),
      sinceMs: BigInt(sinceMs),
      expiresAtMs: BigInt(expiresAtMs),
    };
  },
});

const resign = operation(Election.method.resign, {
  name: "Resign",
  group,
  http: {
    verbs: ["POST"],
    path: `${path}/resign`,
    request: (http) =>
      after(http.jsonText(), (body) => ({ group: http.param("group"), fencingToken: tokenOf(body) })),
    reply: () => noContent,
    docs: {
      summary: "End a leadership by its fencing token",
      body: {
        "application/json": {
          type: "object",
          required: ["fencingToken"],
          properties: { fencingToken: whole },
        },
      },
      replies: {
        204: { description: "Ended" },
        ...failures({ ...campaignFailures, 409: "ERR_ELECTION_NOT_LEADER", 500: "ERR_ELECTION" }),
      },
    },
  },
  async handle({ group: name, fencingToken }, { app }) {
    await app.elections.resign(name, Number(fencingToken));
    return {};
  },
});

/** Resigns when the reader leaves. Refusals are thrown before the first event, while a status can still be sent. */
function eventsOf(
  app: AppScope,
  request: { group: string; candidate: string },
  signal: AbortSignal,
): AsyncIterable<ElectionEvent> {
  const queue = new ElectionQueue(signal);
  const open = app.elections.campaign({ ...request, onEvent: (event) => queue.push(event) });
  void open.ended.then(() => queue.end());
  // The reader may be gone before it asked for the first event.
  void queue.ended.then(() => open.close());
  return queue;
}

async function* serverSentEvents(events: AsyncIterable<ElectionEvent>): AsyncGenerator<Uint8Array> {
  // The head goes out with the first bytes: a candidate that waits knows that it was taken.
  yield Buffer.from(": campaigning\n\n");
  for await (const { kind, ...data } of events) {
    yield Buffer.from(`event: ${kind}\ndata: ${JSON.stringify(rounded(data))}\n\n`);
  }
}

function rounded<T extends object>(data: T): T {
  return "validForMs" in data ? { ...data, validForMs: Math.floor(data.validForMs as number) } : data;
}

function messageOf(event: ElectionEvent): MessageInitShape<typeof CampaignEventSchema> {
  const { kind, leader, term, fencingToken } = event;
  return {
    kind: kinds[kind],
    leader,
    term: BigInt(term),
    fencingToken: BigInt(fencingToken),
    validForMs: "validForMs" in event ? Math.floor(event.validForMs) : 0,
    reason: event.kind === "lost" ? event.reason : "",
  };
}

function leaderJson({ group: name, leader, term, fencingToken, sinceMs, expiresAtMs }: GetLeaderResponse) {
  const known = { group: name, term: Number(term), fencingToken: Number(fencingToken) };
  if (leader === "") return known;
  const [since, expiresAt] = [sinceMs, expiresAtMs].map((ms) => new Date(Number(ms)).toISOString());
  return { ...known, leader, since, expiresAt };
}

function candidateOf(body: string): string {
  if (body.trim() === "") return "";
  return textOf(members(parseBody(body), "the body").candidate ?? "", "candidate");
}

function tokenOf(body: string): bigint {
  const { fencingToken } = body.trim() === "" ? {} : members(parseBody(body), "the body");
  if (typeof fencingToken !== "number" || !Number.isSafeInteger(fencingToken) || fencingToken < 0) {
    throw errors.MALFORMED_REQUEST('"fencingToken" has to be a whole number');
  }
  return BigInt(fencingToken);
}

export const electionOperations = [campaign, campaignHttp, getLeader, resign];
