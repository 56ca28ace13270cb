/** Servers for tests: started on a free loopback port, gone with the process. See scripts/services.d. */
export { type Service, type ServiceOptions, startService } from "../scripts/services.ts";
