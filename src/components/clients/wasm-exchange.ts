/** One request on its way through a guest, and its answer. */
export interface GuestMessage {
  headers: string[];
  /** What may be read of it; absent: not here. */
  body?: Uint8Array | undefined;
}

export interface GuestExchange {
  method: string;
  uri: string;
  source: string;
  request: GuestMessage;
  status: number;
  response: GuestMessage;
}

export type ToGuest =
  | { kind: "open"; module: WebAssembly.Module; config: string }
  | { kind: "request"; id: number; exchange: GuestExchange }
  | { kind: "response"; id: number; exchange: GuestExchange }
  /** There is no answer to look at. */
  | { kind: "leave"; id: number };

export type FromGuest =
  | { kind: "ready"; readsAnswers: boolean }
  | { kind: "done"; id: number; exchange: GuestExchange; isNext: boolean }
  | { kind: "failed"; id: number; message: string }
  | { kind: "log"; level: number; text: string };
