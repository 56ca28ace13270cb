import { errors } from "../errors.ts";
import type { Layer } from "./layer.ts";

/** A list member: `key=value;property` (https://www.w3.org/TR/baggage/). */
const member = /^\s*[!#$%&'*+\-.^_`|~\w]+\s*=\s*[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*\s*(;[^,]*)?$/;
const bytesMax = 8192;
const membersMax = 180;

/** W3C baggage goes wherever the call goes, so what is none is refused here; the caller gets his own back, as in Dapr. */
export const baggage: Layer = {
  name: "baggage",
  wrap(next, subject) {
    if (subject.isProbe) return undefined;
    return (call) => {
      const given = call.header("baggage");
      if (given === undefined || given === "") return next(call);
      const why = baggageProblem(given);
      if (why !== undefined) throw errors.BAGGAGE(why);
      call.setReplyHeader("baggage", given);
      return next(call);
    };
  },
};

/** Why a text is no baggage; `undefined` when it is. */
export function baggageProblem(text: string): string | undefined {
  if (text.length > bytesMax) return `${text.length} bytes are more than ${bytesMax}`;
  const members = text.split(",");
  if (members.length > membersMax) return `${members.length} members are more than ${membersMax}`;
  return members.every((one) => member.test(one)) ? undefined : "malformed list member";
}
