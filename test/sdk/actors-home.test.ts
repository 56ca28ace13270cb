import { expectActors } from "./actor-cases.ts";
import { actorPrograms } from "./actor-programs.ts";
import { inStores } from "./over-stores.ts";

const { GoStream: Go, PythonHttp: Python, JavaScript, Java } = actorPrograms;

inStores("actors", { JavaScript, Go, Python, Java }, expectActors);
