const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const fixed = /^[A-Z][a-z]{2}, (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/;
const rfc850 = /^[A-Z][a-z]{5,8}, (\d{2})-([A-Z][a-z]{2})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT$/;
const asctime = /^[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/;

/** A date of HTTP in its three forms (RFC 9110 §5.6.7); `undefined` for anything else: `Date.parse` takes too much. */
export function parseHttpDate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, day, month, year, ...time] = fixed.exec(text) ?? [];
  if (year !== undefined) return epochMs(Number(year), month, [day, ...time]);
  const [, day2, month2, year2, ...time2] = rfc850.exec(text) ?? [];
  if (year2 !== undefined) return epochMs(century(Number(year2)), month2, [day2, ...time2]);
  const [, month3, day3, hour, minute, second, year3] = asctime.exec(text) ?? [];
  if (year3 === undefined) return undefined;
  return epochMs(Number(year3), month3, [day3, hour, minute, second]);
}

/** Two digits that seem more than 50 years ahead are of the century before. */
function century(year: number): number {
  return year >= 70 ? 1900 + year : 2000 + year;
}

function epochMs(year: number, month: string | undefined, rest: (string | undefined)[]): number | undefined {
  const index = months.indexOf(month ?? "");
  const [day = 0, hour = 0, minute = 0, second = 0] = rest.map(Number);
  if (index < 0 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) return undefined;
  return Date.UTC(year, index, day, hour, minute, second);
}
