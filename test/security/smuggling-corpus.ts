// Byte streams that two HTTP/1 implementations might read differently, made systematically (RFC 9112, the literature on
// request smuggling), each with what a strict proxy has to make of it.
import { wireCases } from "../../src/net/http1/fixture-malformed.ts";

export interface SmugglingCase {
  name: string;
  bytes: string;
  /** What the app gets, as `METHOD target body`. */
  seen: string[];
  /** Present: the connection then ends with this status class. */
  isRefused: boolean;
}

const address = "Host: localhost\r\ndapr-app-id: callee\r\n";
const hidden = `GET /smuggled HTTP/1.1\r\n${address}\r\n`;
const request = (line: string, fields = "", body = "") => `${line}\r\n${address}${fields}\r\n${body}`;
const post = (fields: string, body: string) => request("POST /p HTTP/1.1", fields, body);
const chunked = (body: string, fields = "") => post(`Transfer-Encoding: chunked\r\n${fields}`, body);
/** A list in one line of the formatter. */
const list = (text: string) => text.split("¦");
const shown = (text: string) => JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text);
const bad = (name: string, bytes: string): SmugglingCase => ({ name, bytes, seen: [], isRefused: true });
const good = (name: string, bytes: string, ...seen: string[]): SmugglingCase => ({
  ...{ name, bytes, seen, isRefused: false },
});

/** A control character at every place of a message. */
function controls(): SmugglingCase[] {
  const codes = [0, 1, 7, 8, 11, 12, 14, 26, 27, 28, 31, 127];
  const places: [string, (char: string) => string][] = [
    ["method", (c) => request(`GE${c}T / HTTP/1.1`)],
    ["end of the method", (c) => request(`GET${c} / HTTP/1.1`)],
    ["target", (c) => request(`GET /a${c}b HTTP/1.1`)],
    ["query", (c) => request(`GET /a?${c}b HTTP/1.1`)],
    ["version", (c) => request(`GET / HTTP/1.1${c}`)],
    ["start of a name", (c) => request("GET / HTTP/1.1", `${c}Content-Length: 5\r\n`)],
    ["end of a name", (c) => post(`Transfer-Encoding${c}: chunked\r\n`, `0\r\n\r\n${hidden}`)],
    ["start of a value", (c) => post(`Transfer-Encoding:${c}chunked\r\n`, `0\r\n\r\n${hidden}`)],
    ["end of a value", (c) => post(`Content-Length: 5${c}\r\n`, "hello")],
    ["end of a line", (c) => request("GET / HTTP/1.1", `X: 1${c}\r\n`)],
    ["chunk size", (c) => chunked(`5${c}\r\nhello\r\n0\r\n\r\n`)],
    ["chunk extension", (c) => chunked(`5;a${c}b\r\nhello\r\n0\r\n\r\n`)],
    ["trailer name", (c) => chunked(`0\r\nX${c}: 1\r\n\r\n`)],
    ["trailer value", (c) => chunked(`0\r\nX: 1${c}\r\n\r\n`)],
  ];
  return codes.flatMap((code) =>
    places.map(([place, at]) => bad(`byte ${code} in the ${place}`, at(String.fromCharCode(code)))),
  );
}

/** Transfer codings that are not exactly `chunked`, alone and beside a length. */
function codings(): SmugglingCase[] {
  const values = [
    ...list("xchunked¦chunkedx¦chunke¦chunked1¦chunk¦chunked-¦chunked;¦chunked;q=1¦chunked,¦,chunked"),
    ...list("chunked, chunked¦chunked,chunked¦identity¦identity, chunked¦chunked, identity¦gzip"),
    ...list("gzip, chunked¦chunked, gzip¦deflate¦compress, chunked¦trailers¦trailers, chunked"),
    ...list("\"chunked\"¦'chunked'¦chunked chunked¦chun ked¦chunked, cow¦cow, chunked¦cow¦*¦\\chunked"),
    ...list("chunked\\¦chunked\xa0¦\xa0chunked¦\x85chunked¦chunked\xad¦\xefchunked¦chunked\xff"),
    ...list("c\xf6hunked¦ch\u00f9nked¦{chunked}¦[chunked]¦chunked=¦=chunked¦chunked/1.1¦0¦1¦true¦¦  ¦,"),
    ...list(",,¦chunked ; a¦identity;chunked¦x=chunked¦%63hunked¦chunked%00¦&#99;hunked¦chunked:"),
    ...list(":chunked"),
  ];
  return [...new Set(values)].flatMap((value) => [
    bad(`coding ${shown(value)}`, post(`Transfer-Encoding: ${value}\r\n`, `0\r\n\r\n${hidden}`)),
    bad(
      `coding ${shown(value)} beside a length`,
      post(`Content-Length: 5\r\nTransfer-Encoding: ${value}\r\n`, `0\r\n\r\n${hidden}`),
    ),
  ]);
}

/** Two fields that contradict each other, in each order and spelling. */
function contradictions(): SmugglingCase[] {
  const te = ["Transfer-Encoding: chunked", "transfer-encoding:chunked", "TRANSFER-ENCODING: CHUNKED"];
  const cl = ["Content-Length: 5", "content-length:0", "CONTENT-LENGTH: 005", "Content-Length: 4"];
  const pairs = te.flatMap((coding) =>
    cl.flatMap((length) => [
      [coding, length],
      [length, coding],
    ]),
  );
  const doubles = [...te, ...cl].flatMap((one) => [...te, ...cl].map((other) => [one, other]));
  const unique = new Map([...pairs, ...doubles].map((lines) => [lines.join(" and "), lines]));
  return [...unique].map(([name, lines]) =>
    bad(name, post(`${lines.join("\r\n")}\r\n`, `0\r\n\r\n${hidden}`)),
  );
}

function lengths(): SmugglingCase[] {
  const values = [
    ...list('¦+5¦-5¦-0¦0x5¦5x¦x5¦5.0¦5,5¦5, 5¦5,6¦5;5¦5 5¦5 0¦05 5¦five¦5e0¦1e1¦0b1¦0o5¦5_0¦5\'0¦"5"'),
    ...list("'5'¦(5)¦5,¦,5¦5;¦;5¦5=¦=5¦5/1¦NaN¦Infinity¦\xb2¦\xb5¦5\xa0¦\xa05¦%35¦&#53;"),
    ...list("9007199254740993¦18446744073709551621¦4294967301000000"),
    ...[
      "99999999999999999999",
      "1".repeat(400),
      "0".repeat(30),
      "5\\",
      "5#",
      "5?",
      "5:",
      "null",
      "true",
      "[5]",
      "{5}",
      "5*1",
    ],
  ];
  return values.map((value) =>
    bad(`length ${shown(value)}`, post(`Content-Length: ${value}\r\n`, `hello${hidden}`)),
  );
}

/** Names that some take for those that frame a message. */
function names(): SmugglingCase[] {
  const spoilt = (name: string) => [
    ...[
      `${name} `,
      `${name}\t`,
      ` ${name}`,
      `\t${name}`,
      `${name}\xa0`,
      `${name}\x85`,
      `X\r\n ${name}`,
      `X: 1\r\n\t${name}`,
    ],
    ...[
      `${name} x`,
      `x ${name}`,
      `"${name}"`,
      `(${name})`,
      `${name};`,
      `${name},`,
      `${name}/`,
      `<${name}`,
      `${name}=`,
      `${name}?`,
    ],
    ...[
      `X:1\n${name}`,
      `X:1\r${name}`,
      `X:1\r\r\n${name}`,
      `\n${name}`,
      `\r${name}`,
      `[${name}]`,
      `{${name}}`,
      `@${name}`,
    ],
  ];
  const forms = [
    ...spoilt("Transfer-Encoding").map((name) => `${name}: chunked`),
    ...spoilt("Content-Length").map((name) => `${name}: 5`),
    ...spoilt("Host").map((name) => `${name}: evil.example`),
  ];
  return forms.map((line) => bad(`line ${shown(line)}`, post(`${line}\r\n`, `0\r\n\r\n${hidden}`)));
}

function chunks(): SmugglingCase[] {
  const sizes = [
    ...list('¦ ¦0x5¦0X5¦x5¦+5¦-5¦ 5¦5 ¦\t5¦5\t¦5 ;a¦5h¦g¦5.¦5,5¦5 5¦5_¦_5¦5:¦5=¦"5"¦%35¦5\\¦5/¦\xb5'),
    ...list("5\xa0¦\xa05¦00000000000000005¦10000000000000005¦5\0¦ffffffffffffffff¦fffffffffffffffff"),
    ...list("7fffffffffffffff¦8000000000000000¦-1¦1e1_¦(5)¦#5"),
  ];
  const ends = ["\n", "\r", "\r\r\n", "\n\r", "\r\n\n", " \n", "\r \n", "\x0b\r", "", "\\r\\n"];
  return [
    ...sizes.map((size) =>
      bad(`chunk size ${shown(size)}`, chunked(`${size}\r\nhello\r\n0\r\n\r\n${hidden}`)),
    ),
    ...ends.flatMap((end) => [
      bad(`chunk size ended by ${shown(end)}`, chunked(`5${end}hello\r\n0\r\n\r\n${hidden}`)),
      bad(`chunk ended by ${shown(end)}`, chunked(`5\r\nhello${end}0\r\n\r\n${hidden}`)),
      bad(`extension ended by ${shown(end)}`, chunked(`5;a=b${end}hello\r\n0\r\n\r\n${hidden}`)),
      bad(`last size ended by ${shown(end)}`, chunked(`0${end}X\r\n\r\n${hidden}`)),
    ]),
    // Visible text would be part of the value.
    ...ends
      .filter((end) => /[\r\n]/.test(end))
      .map((end) => bad(`trailer ended by ${shown(end)}`, chunked(`0\r\nX: 1${end}Y\r\n\r\n${hidden}`))),
  ];
}

/** The end of every line of a head replaced by what lenient parsers take for one. */
function lineEnds(): SmugglingCase[] {
  const message = post("X: 1\r\nContent-Length: 5\r\nY: 2\r\n", "hello");
  const places = [...message.matchAll(/\r\n/g)].map(({ index }) => index);
  const ends = ["\n", "\r", "\r\r\n", "\n\r", "\x0b\r\n", "\x0c\r\n", "\0\r\n", "\r\0\n", "\r\n\x0b"];
  return places
    .slice(0, -1)
    .flatMap((at, line) =>
      ends.map((end) =>
        bad(`line ${line} ended by ${shown(end)}`, message.slice(0, at) + end + message.slice(at + 2)),
      ),
    );
}

function startLines(): SmugglingCase[] {
  const lines = [
    ..."HTTP/1 HTTP/1. HTTP/.1 HTTP/1.1.1 HTTP/1.10 HTTP/01.1 HTTP/1.01 HTTP/1,1 HTTP/1.2 HTTP/1.9 HTTP/2.0 HTTP/2 HTTP/3.0"
      .split(" ")
      .map((version) => `GET / ${version}`),
    ..."HTTP/0.9 HTTP/0.0 HTTP/-1.1 HTTP/+1.1 http/1.1 Http/1.1 HTTP1.1 HTTP//1.1 HTTP\\1.1 HTTPS/1.1 HTTP/1.1x HTTP/x.1 XHTTP/1.1 /1.1"
      .split(" ")
      .map((version) => `GET / ${version}`),
    ...list("GET /¦GET¦¦GET  / HTTP/1.1¦GET /  HTTP/1.1¦GET / HTTP/1.1 ¦ GET / HTTP/1.1"),
    ...list("GET\t/\tHTTP/1.1¦GET / HTTP/1.1 HTTP/1.1¦GET / x HTTP/1.1¦GET /a b HTTP/1.1¦GET HTTP/1.1"),
    ...list("GET a HTTP/1.1¦GET ../a HTTP/1.1¦GET ?a HTTP/1.1¦GET #a HTTP/1.1¦GET /a#b HTTP/1.1"),
    ...list("GET /?#b HTTP/1.1¦GET * HTTP/1.1¦POST * HTTP/1.1¦OPTIONS ** HTTP/1.1"),
    ...list("GET localhost HTTP/1.1¦GET localhost:80 HTTP/1.1¦CONNECT localhost:80 HTTP/1.1"),
    ...list("CONNECT / HTTP/1.1¦GET http://evil.example/ HTTP/1.1¦GET http://localhost:81/ HTTP/1.1"),
    ...list("GET http:/localhost/ HTTP/1.1¦GET http://localhost@evil.example/ HTTP/1.1"),
    ...list("GET http://evil.example@localhost/ HTTP/1.1¦GET http:///a HTTP/1.1"),
    ...list("GET ftp://localhost/ HTTP/1.1¦GET file:///etc/passwd HTTP/1.1"),
    ...list("GET http://localhost\\@evil.example/ HTTP/1.1¦GET //evil.example\\a HTTP/1.2"),
    ...list("GET \\a HTTP/1.1¦G[T / HTTP/1.1¦G=T / HTTP/1.1¦GET, / HTTP/1.1¦G\xcbT / HTTP/1.1"),
    ...[
      "GET;x / HTTP/1.1",
      "{GET} / HTTP/1.1",
      `${"M".repeat(80)} / HTTP/1.1`,
      "GET / HTTP/1.1;x",
      "HTTP/1.1 200 OK",
    ],
  ];
  return lines.map((line) => bad(`start ${shown(line)}`, request(line, "Content-Length: 0\r\n")));
}

function hosts(): SmugglingCase[] {
  const other = ["evil.example", "localhost", "LOCALHOST", "", "localhost:80"].flatMap((value) => [
    `Host: localhost\r\nHost: ${value}`,
    `hOST: ${value}\r\nHost: localhost`,
  ]);
  const values = [
    ...list("localhost evil.example¦localhost, evil.example¦localhost/evil¦u@localhost¦localhost?"),
    ...list("localhost#¦localhost\\¦localhost:a¦localhost:1:2¦localhost:123456¦[::1¦[::1]x¦::1]¦[::1]:x"),
    ...list('local%host¦http://localhost¦localhost;x y¦"localhost"¦<localhost>¦localhost\xa0'),
    ...list("lo\xe9calhost¦localhost:-1"),
  ].map((value) => `Host: ${value}`);
  return [...other, ...values].map((lines) =>
    bad(`host ${shown(lines)}`, `GET / HTTP/1.1\r\n${lines}\r\ndapr-app-id: callee\r\n\r\n`),
  );
}

/** The corpus of the codec, addressed to an app. */
function codecCases(): SmugglingCase[] {
  // Whole runtimes speak HTTP/2 and take more fields.
  const others = new Set(["HTTP/2 preface without a taker", "many fields"]);
  return wireCases
    .filter(({ name }) => !others.has(name))
    .filter(({ refused, seen = [] }) => refused !== undefined && seen.length === 0)
    .map(({ name, bytes }) => bad(`codec: ${name}`, bytes.replaceAll("Host: a\r\n", address)));
}

function accepted(): SmugglingCase[] {
  const inner = `0\r\n\r\n${hidden}`;
  return [
    good("plain", request("GET /a?b=c HTTP/1.1"), "GET /a?b=c "),
    good("length", post("Content-Length: 5\r\n", "hello"), "POST /p hello"),
    good("length with zeros", post("Content-Length: 0005\r\n", "hello"), "POST /p hello"),
    good("a request in a body", post(`Content-Length: ${hidden.length}\r\n`, hidden), `POST /p ${hidden}`),
    good(
      "a request in a chunk",
      chunked(`${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`),
      `POST /p ${inner}`,
    ),
    good("chunks with zeros and extensions", chunked("0005;a=b\r\nhello\r\n000;c\r\n\r\n"), "POST /p hello"),
    good(
      "trailers that frame",
      chunked("5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n"),
      "POST /p hello",
    ),
    good("coding in capitals", post("Transfer-Encoding: ChUnKeD\r\n", "1\r\nx\r\n0\r\n\r\n"), "POST /p x"),
    good(
      "coding between blanks",
      post("Transfer-Encoding: \t chunked \t \r\n", "1\r\nx\r\n0\r\n\r\n"),
      "POST /p x",
    ),
    good(
      "names that only look so",
      post("Content_Length: 9\r\nTransfer_Encoding: chunked\r\n", ""),
      "POST /p ",
    ),
    good(
      "coding behind other names",
      post("X-Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "x"),
      "POST /p x",
    ),
    good(
      "length named by Connection",
      post("Connection: content-length\r\nContent-Length: 5\r\n", "hello"),
      "POST /p hello",
    ),
    good(
      "coding named by Connection",
      post("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n"),
      "POST /p x",
    ),
    good("host named by Connection", request("GET /h HTTP/1.1", "Connection: host\r\n"), "GET /h "),
    good("body on GET", request("GET /g HTTP/1.1", "Content-Length: 5\r\n", "hello"), "GET /g hello"),
    good(
      "body on DELETE in chunks",
      request("DELETE /g HTTP/1.1", "Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n"),
      "DELETE /g x",
    ),
  ];
}

function acceptedPaths(): SmugglingCase[] {
  return [
    good("dot segments", request("GET /a/../b/./c//d HTTP/1.1"), "GET /b/c/d "),
    good("encoded dot segments", request("GET /a/%2e%2e/b HTTP/1.1"), "GET /b "),
    good(
      "encoded line break in the query",
      request("GET /q?a=%0d%0aX:%201 HTTP/1.1"),
      "GET /q?a=%0d%0aX:%201 ",
    ),
    good("method of its own", request("BREW /pot HTTP/1.1"), "BREW /pot "),
    good("method override", request("GET /m HTTP/1.1", "X-HTTP-Method-Override: DELETE\r\n"), "GET /m "),
    good(
      "rewrites named in headers",
      request("GET /m HTTP/1.1", "X-Original-URL: /x\r\nX-Rewrite-URL: /y\r\n"),
      "GET /m ",
    ),
    good(
      "h2c upgrade",
      request(
        "GET /u HTTP/1.1",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
      ),
      "GET /u ",
    ),
    good("Upgrade without Connection", request("GET /u HTTP/1.1", "Upgrade: websocket\r\n"), "GET /u "),
    good(
      "TE and Trailer",
      request("GET /t HTTP/1.1", "TE: trailers, chunked\r\nTrailer: Content-Length\r\n"),
      "GET /t ",
    ),
    good("blank line before", `\r\n${request("GET /b HTTP/1.1")}`, "GET /b "),
    good(
      "two in one",
      post("Content-Length: 1\r\n", "x") + chunked("1\r\ny\r\n0\r\n\r\n"),
      "POST /p x",
      "POST /p y",
    ),
    ...[
      "\\r\\n",
      "%0d%0a",
      "\xe5\x98\x8a\xe5\x98\x8d",
      "\xc4\x8d\xc4\x8a",
      "\xff\xfe",
      "\x80\x85\x8a\x8d",
    ].map((text) =>
      good(
        `value ${shown(text)}`,
        request("GET /v HTTP/1.1", `X-Text: a${text}Content-Length: 5\r\n`),
        "GET /v ",
      ),
    ),
  ];
}

const all = [
  ...[
    controls,
    codings,
    contradictions,
    lengths,
    names,
    chunks,
    lineEnds,
    startLines,
    hosts,
    codecCases,
    accepted,
    acceptedPaths,
  ],
].flatMap((family) => family());

/** Each stream of bytes once. */
export const smugglingCases: SmugglingCase[] = [...new Map(all.map((one) => [one.bytes, one])).values()];
