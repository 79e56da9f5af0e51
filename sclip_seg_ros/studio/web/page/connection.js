// One socket to the server: state and frames come in, commands go out and are answered.

export class Connection {
  /** Handlers: state(state), frame(header, planes), under(reply), open(), lost(). */
  constructor(handlers) {
    this.handlers = handlers;
    this.waiting = new Map();
    this.number = 0;
    this.wait = 250;
    this.heat = "";
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/live`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.wait = 250;
      if (this.heat) this.send({do: "heat", name: this.heat});
      this.handlers.open();
    };
    this.socket.onmessage = event => this.receive(event.data);
    this.socket.onclose = () => {
      for (const {reject} of this.waiting.values()) {
        reject({field: "page", message: "the connection was lost; try again when it is back"});
      }
      this.waiting.clear();
      this.handlers.lost();
      setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(4000, 2 * this.wait);
    };
  }

  async receive(data) {
    if (typeof data !== "string") {
      try {
        await this.handlers.frame(...unpack(data));
      } finally {
        this.send({do: "ready"});
      }
      return;
    }
    const message = JSON.parse(data);
    if (message.kind === "state") this.handlers.state(message);
    else if (message.kind === "under") this.handlers.under(message);
    else if (message.kind === "reply") {
      const waiting = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      if (!waiting) return;
      if (message.message) waiting.reject(message);
      else waiting.resolve();
    }
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** Have a command carried out; rejects with {field, message} where it is refused. */
  command(message) {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) {
        reject({field: "page", message: "there is no connection to the studio; it may have ended"});
        return;
      }
      const id = ++this.number;
      this.waiting.set(id, {resolve, reject});
      this.send({...message, id});
    });
  }

  showHeat(name) {
    if (this.heat === name) return;
    this.heat = name;
    this.send({do: "heat", name});
  }
}

function unpack(data) {
  const length = new DataView(data).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  let place = 4 + length;
  const planes = {};
  for (const part of header.parts) {
    planes[part.name] = new Blob([new Uint8Array(data, place, part.length)], {type: part.type});
    place += part.length;
  }
  return [header, planes];
}
