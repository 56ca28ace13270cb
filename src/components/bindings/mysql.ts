import type { Binding } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { duration, number, text } from "../../component/fields.ts";
import { MysqlConnections, type Value } from "../clients/mysql.ts";
import { mysqlAddress, pemOf } from "../clients/mysql-address.ts";
import { SqlBinding } from "../clients/sql-binding.ts";

export default component({
  type: "bindings.mysql",
  version: "v1",
  status: "stable",
  summary: "SQL statements with parameters on a MySQL or MariaDB database",
  package: "mysql2",
  metadata: {
    url: text({
      description: "user:password@tcp(host:port)/database?tls=true, as Go's driver has it, or mysql://",
      required: true,
      sensitive: true,
    }),
    pemPath: text({ description: "file of the certificates that may sign the server's" }),
    maxOpenConns: number({ description: "connections at most", default: 4, min: 1, max: 1_000 }),
    maxIdleConns: number({
      description: "idle connections at most",
      missing: "connMaxIdleTime ends idle connections",
    }),
    connMaxIdleTime: duration({ description: "idle time after which a connection ends", min: 1_000 }),
    connMaxLifetime: duration({
      description: "age at which a connection ends",
      missing: "a connection is kept as long as it works",
    }),
    timeout: duration({
      description: "longest wait for an answer",
      default: 20_000,
      min: 1_000,
      max: 600_000,
    }),
  },
  async open({ url, pemPath, maxOpenConns, connMaxIdleTime, timeout }, { edges }): Promise<Binding> {
    const connections = await MysqlConnections.open(mysqlAddress("url", url, pemOf(pemPath)), {
      ...{ timeoutMs: timeout, connectionsMax: maxOpenConns, idleMs: connMaxIdleTime, edges },
    });
    return new SqlBinding({
      change: (text, values) => connections.change({ text, values: parameters(values) }),
      query: async (text, values) => {
        const rows = await connections.ask({ text, values: parameters(values) });
        return rows.map(withoutNulls);
      },
      close: () => connections.close(),
    });
  },
});

/** Objects are for columns of the type json. */
function parameters(values: unknown[]): Value[] {
  return values.map((value) =>
    typeof value === "object" && value !== null ? JSON.stringify(value) : (value as Value),
  );
}

/** As in Dapr a column without a value is not there. */
function withoutNulls(row: object): object {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));
}
