/** One received message, after inflating. */
export const defaultMaxMessageBytes = 4 * 1024 * 1024;

/**
 * Unread bytes one stream may hold: HTTP/2's own 64 KiB would throttle bulk transfers. The window of the connection is
 * the same size on the client's side: Bun 1.4.5 grants a stream more only after half the *connection's* window, so a
 * connection window above twice the stream's stalls every upload for good. (The connection's is granted on receipt: a
 * stopped reader holds up nobody else.)
 */
export const streamWindowBytes = 256 * 1024;
export const connectionWindowBytes = streamWindowBytes;

/** Connections of one server; more are closed at once. */
export const connectionsMax = 10_000;

/** Node's defaults end a session after 1000 cancelled or 100 refused streams: a busy gRPC peer gets there. */
const sessionLimits = {
  streamResetBurst: 10_000,
  streamResetRate: 1000,
  maxSessionRejectedStreams: 10_000,
  maxSessionInvalidFrames: 1000,
  maxSessionMemory: 64,
};

/** Streams a client may have open on one connection; more wait in the client. */
export const concurrentStreamsMax = 10_000;

/** What may be set twice is the business of the applications, not of the HTTP/2 library. */
export const sessionOptions = { ...sessionLimits, strictSingleValueFields: false };

/** Longer texts in grpc-message would make clients refuse the whole header block. */
export const statusMessageCharsMax = 16 * 1024;
/** The same for the encoded details. */
export const statusDetailsBytesMax = 32 * 1024;

/** setTimeout wraps around beyond this; such a deadline is three weeks away and never set. */
export const timerMaxMs = 2 ** 31 - 1;
