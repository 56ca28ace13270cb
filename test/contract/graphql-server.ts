// A GraphQL server of the reference implementation, over HTTP.
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { buildSchema, graphql } from "graphql";

export interface GraphqlServer {
  port: number;
  url: string;
  orders: string[];
  /** Headers of the last request. */
  headers: IncomingHttpHeaders;
  close(): void;
}

const schema = buildSchema(`
  type Order { id: Int!, item: String! }
  type Query { echo(text: String!): String!, order(id: Int!): Order, broken: String, exact: Float }
  type Mutation { add(item: String!): Order! }
`);

export async function startGraphql(): Promise<GraphqlServer> {
  const orders: string[] = [];
  const rootValue = {
    echo: ({ text }: { text: string }) => text,
    order: ({ id }: { id: number }) => (orders[id] === undefined ? null : { id, item: orders[id] }),
    add: ({ item }: { item: string }) => ({ id: orders.push(item) - 1, item }),
    broken: () => {
      throw new Error("it is broken");
    },
    exact: () => 0.1,
  };
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const text = Buffer.concat(pieces).toString();
    running.headers = request.headers;
    if (request.url !== "/graphql/") return void response.writeHead(404).end("not here");
    if (request.method !== "POST") return void response.writeHead(405).end();
    const { query, variables } = JSON.parse(text);
    const answer = await graphql({ schema, source: query, variableValues: variables, rootValue });
    const status = answer.data === undefined ? 400 : 200;
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  const running: GraphqlServer = {
    ...{ port, url: `http://127.0.0.1:${port}/graphql/`, orders, headers: {} },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return running;
}
