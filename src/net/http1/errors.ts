/** The body is longer than its reader allows. */
export class BodyTooLarge extends Error {
  readonly limit: number;
  constructor(limit: number) {
    super(`body is larger than ${limit} bytes`);
    this.name = "BodyTooLarge";
    this.limit = limit;
  }
}

/** The peer left, or the exchange was given up, before the body was complete. */
export class BodyAborted extends Error {
  constructor(message = "connection closed before the body was complete", options?: ErrorOptions) {
    super(message, options);
    this.name = "BodyAborted";
  }
}

/** A second reader asked for a body that has been read or is being read. */
export class BodyTaken extends Error {
  constructor() {
    super("body has already been read");
    this.name = "BodyTaken";
  }
}

/** Bytes that are not the HTTP/1.1 of RFC 9112; `status` is what a server answers to them. */
export class HttpParseError extends Error {
  readonly status: number;
  constructor(message: string, status = 400) {
    super(message);
    this.name = "HttpParseError";
    this.status = status;
  }
}

/** A message the caller asked to send cannot be put on the wire safely. */
export class InvalidMessage extends Error {
  constructor(message: string) {
    super(message);
    this.name = "InvalidMessage";
  }
}

/** No connection could be had; `code` is the system's (`ECONNREFUSED` …), `ETIMEDOUT` or `EPOOLFULL`. */
export class ConnectError extends Error {
  readonly code: string;
  constructor(message: string, code: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ConnectError";
    this.code = code;
  }
}

/** The connection broke after the request was (partly) sent and before its answer was complete. */
export class ConnectionLost extends Error {
  /** Whether a byte of the answer had arrived. */
  readonly answered: boolean;
  constructor(message: string, answered: boolean, options?: ErrorOptions) {
    super(message, options);
    this.name = "ConnectionLost";
    this.answered = answered;
  }
}

/** No response head within `timeoutMs`. */
export class ResponseTimeout extends Error {
  readonly timeoutMs: number;
  constructor(timeoutMs: number) {
    super(`no response within ${timeoutMs} ms`);
    this.name = "ResponseTimeout";
    this.timeoutMs = timeoutMs;
  }
}

/** The caller's signal aborted the request; `cause` is the signal's reason. */
export class RequestAborted extends Error {
  constructor(reason: unknown) {
    super("request aborted", { cause: reason });
    this.name = "RequestAborted";
  }
}
