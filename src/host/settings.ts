import type { AppSettings } from "../api/call.ts";
import type { RuntimeOptions } from "./options.ts";
import type { Tokens } from "./tokens.ts";
import { runtimeVersion } from "./version.ts";

/** What the API and the app's channel look at of the options. */
export function appSettings(options: RuntimeOptions, tokens: Tokens): AppSettings {
  return {
    appPort: options.appPort,
    appProtocol: options.appProtocol,
    appChannelAddress: options.appChannelAddress,
    appMaxConcurrency: options.appMaxConcurrency,
    appHealth: options.appHealth,
    maxBodyBytes: options.maxBodyBytes,
    readBufferBytes: options.readBufferBytes,
    apiLimit: options.apiLimit,
    get apiTokens() {
      return tokens.api;
    },
    get appToken() {
      return tokens.app;
    },
    allowedOrigins: options.allowedOrigins,
    grpcReflection: options.enableGrpcReflection,
    isStrict: options.isStrict,
    runtimeVersion,
  };
}
