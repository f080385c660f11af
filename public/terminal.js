// <pinacle-terminal data-pod="ID" data-kind="terminal" data-name="main">: a named terminal of a pod, or with
// data-kind="process" the log of one of its processes. Wire: binary frames are the terminal's bytes both ways.
// From the server: {"ack": N} input bytes of this client that reached the pod (null: unknown), {"exit": {code}},
// {"closed": {reason}}. To it: {"resize": {cols, rows}}, and {"ack_out": N} output bytes drawn on this connection.

const TYPED_LIMIT = 64 * 1024; // bytes that are taken in while the connection is lost
const PASTE_LIMIT = 16 * 1024 * 1024; // bytes that wait for the pod in all: more is a file
const PIECE = 32 * 1024; // bytes of one message
const WINDOW = 256 * 1024; // bytes on their way that the pod has not taken: the server drops who sends 4 MiB ahead of it
const ACK_EVERY = 128 * 1024; // bytes drawn between two acknowledgements
const RETRY_MS = [250, 500, 1000, 2000, 5000];
const PAUSE_MS = 1000; // without a key, after which the connection's time is shown
const SCROLLBACK = 10_000; // lines
const ADDONS = ['addon-fit', 'addon-unicode11', 'addon-web-links'];

let loaded;
const load = () =>
  (loaded ??= (async () => {
    await import('/vendor/xterm.js');
    await Promise.all(ADDONS.map((name) => import(`/vendor/${name}.js`)));
  })());

// What was typed and may not have reached the pod, in pieces. `base` is the number of bytes before the first one kept.
class Outbox {
  constructor() {
    this.pieces = [];
    this.base = 0;
    this.sent = 0;
    this.end = 0;
  }

  // False when there is no room: then nothing of it is taken, rather than half a line.
  add(bytes, limit) {
    if (this.end - this.base + bytes.length > limit) return false;
    const last = this.pieces.at(-1);
    // Keys join the piece that waits, so that each is not a message of its own.
    if (last && this.end - last.length >= this.sent && last.length + bytes.length <= PIECE) {
      const both = new Uint8Array(last.length + bytes.length);
      both.set(last);
      both.set(bytes, last.length);
      this.pieces[this.pieces.length - 1] = both;
    } else {
      for (let at = 0; at < bytes.length; at += PIECE) this.pieces.push(bytes.subarray(at, at + PIECE));
    }
    this.end += bytes.length;
    return true;
  }

  acknowledge(total) {
    const reached = Math.min(total, this.end);
    while (this.base < reached) {
      const [first] = this.pieces;
      const whole = first.length <= reached - this.base;
      const taken = whole ? first.length : reached - this.base;
      if (whole) this.pieces.shift();
      else this.pieces[0] = first.subarray(taken);
      this.base += taken;
    }
    this.sent = Math.max(this.sent, this.base);
  }

  // Before anything is sent on a new connection. Unknown: what was sent once is not sent again, and counting begins anew.
  resume(total) {
    this.acknowledge(total ?? this.sent);
    if (total === null) {
      this.end -= this.base;
      this.base = 0;
    }
    this.sent = this.base;
  }

  // The next piece, as long as the pod keeps up.
  take() {
    if (this.sent - this.base >= WINDOW) return undefined;
    let begin = this.base;
    for (const piece of this.pieces) {
      if (begin >= this.sent) {
        this.sent = begin + piece.length;
        return piece;
      }
      begin += piece.length;
    }
    return undefined;
  }

  get unsent() {
    return this.end - this.sent;
  }
}

class PinacleTerminal extends HTMLElement {
  connectedCallback() {
    if (this.gone !== undefined) return;
    this.gone = false;
    this.tries = 0;
    this.outbox = new Outbox();
    this.client = crypto.randomUUID();
    this.log = this.dataset.kind === 'process';
    this.tabIndex = -1;
    this.screen = document.createElement('div');
    this.screen.className = 'screen';
    this.foot = document.createElement('footer');
    this.replaceChildren(this.screen, this.foot);
    this.show('Loading…');
    this.open().catch((error) => {
      console.warn('terminal:', error);
      this.show('The terminal could not be loaded. Reload the page to try again.', 'slow');
    });
  }

  disconnectedCallback() {
    this.gone = true;
    clearTimeout(this.retry);
    clearTimeout(this.pause);
    this.resizing?.disconnect();
    this.socket?.close();
    this.term?.dispose();
  }

  focus() {
    if (this.term) this.term.focus();
    else this.wantsFocus = true;
  }

  async open() {
    await load();
    if (this.gone) return;
    const style = getComputedStyle(this);
    const color = (name) => style.getPropertyValue(`--term${name}`).trim();
    const term = new globalThis.Terminal({
      allowProposedApi: true,
      convertEol: this.log,
      cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
      disableStdin: this.log,
      fontFamily: style.fontFamily,
      fontSize: 13,
      lineHeight: 1.3,
      scrollback: SCROLLBACK,
      theme: {
        background: this.paint('--term'),
        foreground: color('-text'),
        cursor: color('-text'),
        selectionBackground: '#3d5f9c',
        red: color('-red'),
        green: color('-green'),
        yellow: color('-yellow'),
        blue: color('-blue'),
        brightBlack: color('-dim'),
        brightRed: color('-red'),
        brightGreen: color('-green'),
        brightYellow: color('-yellow'),
        brightBlue: color('-blue'),
      },
    });
    this.term = term;
    this.fit = new globalThis.FitAddon.FitAddon();
    term.loadAddon(this.fit);
    term.loadAddon(new globalThis.Unicode11Addon.Unicode11Addon());
    term.unicode.activeVersion = '11';
    term.loadAddon(new globalThis.WebLinksAddon.WebLinksAddon());
    term.open(this.screen);
    this.fit.fit();
    term.textarea?.setAttribute('aria-label', this.getAttribute('aria-label') ?? 'Terminal');
    const encoder = new TextEncoder();
    term.onData((text) => this.type(encoder.encode(text)));
    term.onBinary((text) => this.type(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    term.onResize(({ cols, rows }) => {
      this.tell({ resize: { cols, rows } });
      if (this.size) this.size.textContent = `${cols} × ${rows}`;
    });
    term.attachCustomKeyEventHandler((event) => this.key(event));
    this.resizing = new ResizeObserver(() => this.fit.fit());
    this.resizing.observe(this.screen);
    if (this.wantsFocus) term.focus();
    this.connect();
  }

  // A sheet's colour may be light-dark(): what it comes out as.
  paint(name) {
    const probe = document.createElement('i');
    probe.style.color = `var(${name})`;
    this.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  // False keeps the key from the shell.
  key(event) {
    if (event.type !== 'keydown') return true;
    if (event.key === 'Escape' && event.shiftKey) {
      this.term.blur();
      this.closest('.term')?.querySelector('[role=tab][aria-selected=true]')?.focus();
      return false;
    }
    if (event.metaKey && event.key.toLowerCase() === 'k') return false;
    if (event.ctrlKey && event.shiftKey && event.key.toLowerCase() === 'c') {
      event.preventDefault();
      navigator.clipboard?.writeText(this.term.getSelection());
      return false;
    }
    // The browser pastes by itself.
    if (event.ctrlKey && event.shiftKey && event.key.toLowerCase() === 'v') return false;
    return true;
  }

  address() {
    const { pod, name } = this.dataset;
    const base = `${location.origin.replace(/^http/, 'ws')}/live/pods/${pod}`;
    if (this.log) return `${base}/logs/${encodeURIComponent(name)}`;
    const { cols, rows } = this.term;
    return `${base}/terminals/${encodeURIComponent(name)}?cols=${cols}&rows=${rows}&client=${this.client}`;
  }

  connect() {
    if (this.gone) return;
    const socket = new WebSocket(this.address());
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    this.ready = false; // input waits for the first acknowledgement
    this.drawn = 0;
    this.told = 0;
    socket.onopen = () => {
      if (this.socket !== socket) return;
      // The server sends the screen, or the log, again.
      this.term.reset();
      this.show('Connected', 'running');
    };
    socket.onmessage = ({ data }) => {
      if (this.socket !== socket) return;
      if (typeof data === 'string') this.heard(JSON.parse(data));
      else this.draw(socket, new Uint8Array(data));
    };
    socket.onclose = () => {
      if (this.socket !== socket || this.gone) return;
      this.ready = false;
      if (this.ended) return;
      const wait = RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)];
      if (this.tries > 1) this.show(this.log ? 'Reconnecting' : 'Reconnecting. What you type is kept', 'slow');
      this.retry = setTimeout(() => this.connect(), wait);
    };
  }

  draw(socket, bytes) {
    this.term.write(bytes, () => {
      if (this.socket !== socket) return;
      // A refusal comes over an open socket, too: only what is shown says that it worked.
      this.tries = 0;
      this.drawn += bytes.length;
      if (this.drawn - this.told >= ACK_EVERY) {
        this.told = this.drawn;
        this.tell({ ack_out: this.drawn });
      }
    });
  }

  heard(news) {
    if ('ack' in news) {
      if (this.ready) {
        this.outbox.acknowledge(news.ack ?? 0);
        this.flush();
        if (this.typedAt && this.outbox.unsent === 0) {
          this.latency = Math.max(1, Math.round(performance.now() - this.typedAt));
          this.typedAt = 0;
          // Once typing pauses: the echo, which is about to come, would wait until this is drawn.
          clearTimeout(this.pause);
          this.pause = setTimeout(() => this.show('Connected', 'running'), PAUSE_MS);
        }
      } else {
        this.outbox.resume(news.ack);
        this.ready = true;
        this.tell({ resize: { cols: this.term.cols, rows: this.term.rows } });
        this.flush();
      }
    } else if (news.exit) {
      this.ended = true;
      const code = news.exit.code;
      this.show(`The shell ended${code === null || code === undefined ? '' : ` with code ${code}`}.`, 'stopped', 'Begin anew');
    } else if (news.closed) {
      // In vain: the browser was signed out, or its user is not in the pod's team any more.
      this.ended = Boolean(news.closed.final);
      this.show(`Closed: ${news.closed.reason}`, this.ended ? 'stopped' : 'slow');
    }
  }

  type(bytes) {
    if (this.log || this.ended) return;
    if (!this.outbox.add(bytes, this.ready ? PASTE_LIMIT : TYPED_LIMIT)) {
      const words = this.ready ? 'Too much at once. Upload it as a file instead' : 'Reconnecting. No more can be typed until then';
      this.show(words, 'slow');
      return;
    }
    this.flush();
    if (this.ready && this.outbox.unsent > 0) this.show(`Pasting ${Math.ceil(this.outbox.unsent / 1024).toLocaleString('en')} KB`, 'provisioning');
  }

  flush() {
    if (!this.ready || this.socket.readyState !== WebSocket.OPEN) return;
    for (let piece = this.outbox.take(); piece; piece = this.outbox.take()) {
      this.typedAt ||= performance.now();
      this.socket.send(piece);
    }
  }

  tell(message) {
    if (this.socket?.readyState === WebSocket.OPEN && !this.log) this.socket.send(JSON.stringify(message));
  }

  show(words, shape, offer) {
    clearTimeout(this.pause);
    const part = (tag, text, className) => {
      const element = document.createElement(tag);
      element.textContent = text;
      if (className) element.className = className;
      return element;
    };
    const parts = [];
    if (this.term) {
      this.size = part('span', `${this.term.cols} × ${this.term.rows}`);
      parts.push(this.size);
    }
    if (this.term && !this.log) {
      const leave = part('span', '');
      leave.append(part('kbd', 'Shift'), ' ', part('kbd', 'Esc'), ' leaves the terminal');
      parts.push(part('span', 'UTF-8'), leave);
    }
    const live = part('span', '', 'live');
    live.setAttribute('role', 'status');
    if (shape) {
      const mark = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
      mark.setAttribute('width', '12');
      mark.setAttribute('height', '12');
      mark.setAttribute('aria-hidden', 'true');
      const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
      use.setAttribute('href', `/icons.svg#s-${shape}`);
      mark.append(use);
      live.append(mark);
    }
    live.append(words, this.latency && words === 'Connected' ? `, ${this.latency} ms` : '');
    if (offer) {
      const button = part('button', offer, 'btn small');
      button.type = 'button';
      button.onclick = () => {
        this.ended = false;
        this.tries = 0;
        this.outbox = new Outbox();
        this.client = crypto.randomUUID();
        this.socket?.close();
        this.connect();
        this.focus();
      };
      live.append(button);
    }
    parts.push(live);
    this.foot.replaceChildren(...parts);
  }
}

customElements.define('pinacle-terminal', PinacleTerminal);
