// The daemon's events, for as long as the page is open: read, and asked for again when the connection is lost.

// Numbers come every second: silence for longer is a lost connection.
const SILENCE_MS = 6000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;

export class Stream {
  #abort = null;
  #on;

  // on.event(name, text); on.state("open" | "lost" | "refused" | "gone" | "full", words).
  constructor(on) {
    this.#on = on;
  }

  // Reads `path` in place of what was read before.
  open(path) {
    this.close();
    this.#abort = new AbortController();
    this.#run(path, this.#abort.signal);
  }

  close() {
    this.#abort?.abort();
    this.#abort = null;
  }

  async #run(path, signal) {
    let wait = FIRST_WAIT_MS;
    while (!signal.aborted) {
      let words = "";
      const silence = new AbortController();
      try {
        const response = await within(SILENCE_MS, silence, fetch(path, {
          headers: { Accept: "text/event-stream" },
          cache: "no-store",
          signal: AbortSignal.any([signal, silence.signal]),
        }));
        if (response.ok) {
          this.#on.state("open", "");
          wait = FIRST_WAIT_MS;
          await this.#read(response.body, silence);
        } else {
          words = await wordsOf(response);
          if (response.status === 401 || response.status === 403) return this.#on.state("refused", words);
          if (response.status === 404) return this.#on.state("gone", words);
          if (response.status === 429) {
            this.#on.state("full", words);
            wait = LONGEST_WAIT_MS;
          }
        }
      } catch {
        // Why it broke says nothing that could be done about it.
      }
      if (signal.aborted) return;
      this.#on.state("lost", words);
      await new Promise((done) => setTimeout(done, wait));
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    }
  }

  async #read(body, silence) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await within(SILENCE_MS, silence, reader.read());
      if (done) return;
      // Where an event may end: not in what was searched before.
      let from = Math.max(0, text.length - 1);
      text += value;
      for (let end; (end = text.indexOf("\n\n", from)) >= 0; from = 0) {
        this.#event(text.slice(0, end));
        text = text.slice(end + 2);
      }
    }
  }

  #event(lines) {
    let name = "message";
    const data = [];
    for (const line of lines.split("\n")) {
      if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
    }
    this.#on.event(name, data.join("\n"));
  }
}

// What an answer that is none says: the daemon's own are RFC 9457's problems.
export async function wordsOf(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).detail ?? text;
  } catch {
    return text.trim();
  }
}

async function within(ms, abort, promise) {
  const timer = setTimeout(() => abort.abort(), ms);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}
