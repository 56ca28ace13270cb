import { JsonCursor } from "./json-cursor.ts";

/**
 * The members of the object that a JSON text is, each value as the text it stands there. Of equal names the last
 * counts. The text must have passed `JSON.parse` as an object.
 */
export function jsonMembers(text: string): Map<string, string> {
  const cursor = new JsonCursor(text);
  const members = new Map<string, string>();
  cursor.object((name) => members.set(name, cursor.value()));
  return members;
}

/** The items of the array that a JSON text is, each as the text it stands there. The text must be such an array. */
export function jsonItems(text: string): string[] {
  const cursor = new JsonCursor(text);
  const items: string[] = [];
  cursor.array(() => items.push(cursor.value()));
  return items;
}
