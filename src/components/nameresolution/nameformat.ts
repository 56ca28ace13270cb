import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import { isNamePart, type NameResolver, parseAddress } from "../../component/name-resolver.ts";

const placeholder = "{appid}";
/** Nothing changes: this only bounds how long a list is kept. */
const freshMs = 60_000;

export default component({
  type: "nameresolution.nameformat",
  version: "v1",
  status: "alpha",
  summary: "An address made of the app id",
  metadata: {
    format: text({
      description: "the address with {appid} in it; without a port that of the caller's own internal port",
      required: true,
    }),
  },
  async open({ format }): Promise<NameResolver> {
    if (!format.includes(placeholder)) throw new Error(`format must contain the ${placeholder} placeholder`);
    parseAddress(format.replaceAll(placeholder, "app"), 1);
    return {
      freshMs,
      reach: "network",
      find: async ({ appId, port }) =>
        isNamePart(appId) ? [parseAddress(format.replaceAll(placeholder, appId), port)] : [],
      close: async () => {},
    };
  },
});
