/** One received message, after inflating. */
export const defaultMaxMessageBytes = 4 * 1024 * 1024;

/**
 * Unread bytes one stream may hold: HTTP/2's own 64 KiB would throttle bulk transfers. The connection's window is granted
 * on receipt: a stopped reader holds up nobody else.
 */
export const streamWindowBytes = 256 * 1024;
export const connectionWindowBytes = streamWindowBytes;

/** Of the head, or the trailers, of an answer: names, values and 32 bytes for each line. */
export const headerListBytesMax = 64 * 1024;

/** Connections of one server; more are closed at once. */
export const connectionsMax = 10_000;

/** Streams a client may have open on one connection; more wait in the client. */
export const concurrentStreamsMax = 10_000;

/** Longer texts in grpc-message would make clients refuse the whole header block. */
export const statusMessageCharsMax = 16 * 1024;
/** The same for the encoded details. */
export const statusDetailsBytesMax = 32 * 1024;

/** setTimeout wraps around beyond this; such a deadline is three weeks away and never set. */
export const timerMaxMs = 2 ** 31 - 1;
