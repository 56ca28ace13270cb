import { IncomingBody } from "../net/http1/body.ts";
import { BodyTooLarge } from "../net/http1/errors.ts";
import type { Body } from "../net/http1/types.ts";

/** The body, broken off with BodyTooLarge beyond `bytesMax`; one that is announced as larger is refused at once. */
export function limitBody(body: Body, bytesMax: number): Body {
  if (body.size !== undefined) {
    if (body.size > bytesMax) throw new BodyTooLarge(bytesMax);
    return body;
  }
  if (!(body instanceof IncomingBody)) return body;
  let total = 0;
  const limited = new IncomingBody(undefined, {
    wanted: () => {},
    readMore: () => body.resume(),
    dropped: () => body.discard(),
  });
  body.pipeTo({
    write(chunk) {
      total += chunk.length;
      if (total <= bytesMax) return limited.push(chunk);
      body.discard();
      limited.fail(new BodyTooLarge(bytesMax));
      return true;
    },
    end: () => limited.finish(),
    fail: (error) => limited.fail(error),
  });
  return limited;
}
