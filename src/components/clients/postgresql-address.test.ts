import { expect, test } from "bun:test";
import { postgresqlAddress } from "./postgresql-address.ts";

const local = { host: "localhost", port: 5432, database: "postgres", username: "postgres" };

test("both forms of a connection string are read", () => {
  const url = "postgresql://ann:p%40ss@db.example:6000/shop?application_name=mine&sslmode=disable";
  const same = { host: "db.example", port: 6000, database: "shop", username: "ann", password: "p@ss" };
  expect(postgresqlAddress({ connectionString: url })).toEqual({
    ...same,
    ssl: false,
    connection: { application_name: "mine" },
    shown: "ann@db.example:6000/shop",
  });
  const pairs = "host=db.example port=6000 user=ann password=p@ss dbname=shop connect_timeout=10";
  expect(postgresqlAddress({ connectionString: pairs })).toMatchObject({ ...same, ssl: "prefer" });
  expect(postgresqlAddress({ connectionString: "host=localhost user=postgres" })).toMatchObject(local);
});

test("quotes and backslashes hold values together", () => {
  const connectionString = String.raw`user='a b' password = 'it\'s \\ here' database=x\ y`;
  const expected = { username: "a b", password: String.raw`it's \ here`, database: "x y" };
  expect(postgresqlAddress({ connectionString })).toMatchObject(expected);
});

test("fields go before what the string says", () => {
  const given = {
    connectionString: "postgres://a:b@c:1/d",
    host: "other",
    port: 2,
    user: "u",
    password: "p",
  };
  const expected = { host: "other", port: 2, username: "u", password: "p", database: "d" };
  expect(postgresqlAddress(given)).toMatchObject(expected);
  expect(postgresqlAddress({ host: "only", hostaddr: "10.0.0.1" })).toMatchObject({
    ...local,
    host: "10.0.0.1",
  });
  expect(postgresqlAddress({ connectionString: "host=/run/pg sslmode=require" })).toMatchObject({
    ssl: false,
  });
});

test("sslmode decides what is checked", () => {
  const ssl = (connectionString: string) => postgresqlAddress({ connectionString }).ssl;
  expect(ssl("host=h sslmode=require")).toBe("require");
  expect(ssl("host=h sslmode=verify-full")).toEqual({ servername: "h", rejectUnauthorized: true });
  expect(ssl("host=10.0.0.1 sslmode=verify-ca")).toMatchObject({ rejectUnauthorized: true });
  const root = "'-----BEGIN CERTIFICATE-----'";
  expect(ssl(`host=h sslmode=require sslrootcert=${root}`)).toMatchObject({ rejectUnauthorized: true });
});

const wrong: [string, string][] = [
  ["", "failed to build connection string"],
  ["localhost", "not understood from character 1 on"],
  ["host=a 'b'", "not understood from character 7 on"],
  ["host=a port=x", 'invalid port "x"'],
  ["host=a sslmode=strict", 'sslmode "strict" is none of disable, allow'],
  ["host=a sslcert=/none", "sslcert and sslkey need each other"],
  ["host=a sslmode=verify-ca sslrootcert=/none/there", "sslrootcert can not be read"],
];
test.each(wrong)("%p is refused, and no password is shown", (connectionString, message) => {
  expect(() => postgresqlAddress({ connectionString })).toThrow(message);
});
