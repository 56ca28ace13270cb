/** How soon a component is back after its server or network is: two seconds, on a machine with much else to do. */
export const backMs = 2_000 * Number(process.env.MECHA_MACHINE_FACTOR ?? 5);
