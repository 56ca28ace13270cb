import type { Binding } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { openPostgresql, type Value } from "../clients/postgresql.ts";
import { postgresqlFields } from "../clients/postgresql-fields.ts";
import { SqlBinding } from "../clients/sql-binding.ts";

export default component({
  type: "bindings.postgresql",
  version: "v1",
  status: "stable",
  summary: "SQL statements with parameters on a PostgreSQL database",
  package: "postgres",
  metadata: postgresqlFields,
  async open(options, host): Promise<Binding> {
    const connection = await openPostgresql(options, host);
    return new SqlBinding({
      // Objects are for parameters of the type json.
      change: (text, values) => connection.change({ text, values: values as Value[] }),
      query: (text, values) => connection.ask({ text, values: values as Value[] }),
      close: () => connection.close(),
    });
  },
});
