import { IncomingBody } from "../net/http1/body.ts";
import type { Body } from "../net/http1/types.ts";

/**
 * The same body behind one more buffer of bounded size, so that `onEnd` is called when it has arrived, was given up or
 * broke off, even when nobody reads a short one. `onEnd` is called once.
 */
export function relayBody(body: Body, onEnd: () => void): Body {
  if (!(body instanceof IncomingBody) || body.isReady) {
    onEnd();
    return body;
  }
  let isEnded = false;
  const end = (): void => {
    if (isEnded) return;
    isEnded = true;
    onEnd();
  };
  const relayed = new IncomingBody(body.size, {
    wanted: () => {},
    readMore: () => body.resume(),
    dropped: () => {
      body.discard();
      end();
    },
  });
  body.pipeTo({
    write: (chunk) => relayed.push(chunk),
    end: () => {
      relayed.finish();
      end();
    },
    fail: (error) => {
      relayed.fail(error);
      end();
    },
  });
  return relayed;
}
