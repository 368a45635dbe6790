// The newest frame, with a line around each cell.

// Okabe and Ito's colours, those that stand out on grey: told apart by the colour-blind too.
const COLOURS = ["#56b4e9", "#e69f00", "#2fd0a0", "#f0e442", "#e79fcc", "#ff7a33", "#8fa8ff"];
// Where all light is red: by brightness, and by whether the line is whole.
const REDS = [["#ff0000", []], ["#c00000", []], ["#ff0000", [5, 4]], ["#c00000", [5, 4]]];
const FILL = 0.16;
const UNDER_POINTER = 0.42;
// Smaller cells have no number, CSS pixels.
const NUMBERED = 16;
const SCALE_BAR = 0.2;

// The colour of a class or a track: the same in every frame.
export function colour(number, isRed) {
  return isRed ? REDS[number % REDS.length] : [COLOURS[number % COLOURS.length], []];
}

export class View {
  #canvas;
  #frame = null;
  #picture = null;
  #cells = [];
  #under = null;
  shows = { outlines: true, fill: true, numbers: true };
  by = "track";
  isRed = false;

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
  }

  get frame() {
    return this.#frame;
  }

  clear() {
    this.#frame = null;
    this.#picture = null;
    this.#cells = [];
    this.#canvas.width = this.#canvas.height = 0;
    this.#canvas.style.height = this.#canvas.style.width = "0";
  }

  // A frame as the daemon tells it, and its picture, decoded; whoever gives it closes it, once another is shown.
  show(frame, picture) {
    this.#frame = frame;
    this.#picture = picture;
    this.#cells = frame.cells.map(outlined);
    this.#under = null;
    this.draw();
  }

  // The cell at a place of the canvas, CSS pixels; it is drawn brighter.
  at(x, y) {
    if (!this.#frame) return null;
    const scale = this.#scale();
    const context = this.#canvas.getContext("2d");
    context.save();
    context.resetTransform();
    const cell = this.#cells.find((cell) => context.isPointInPath(cell.path, x / scale, y / scale, "evenodd")) ?? null;
    context.restore();
    if (cell !== this.#under) {
      this.#under = cell;
      this.draw();
    }
    return cell;
  }

  draw() {
    if (!this.#frame) return;
    const canvas = this.#canvas;
    const { width, height } = this.#size();
    const room = canvas.parentElement.clientWidth;
    // As wide as there is room, and no higher than the window.
    const scale = Math.min(room / width, Math.max(240, window.innerHeight * 0.76) / height);
    const density = window.devicePixelRatio || 1;
    canvas.style.width = `${width * scale}px`;
    canvas.style.height = `${height * scale}px`;
    canvas.width = Math.round(width * scale * density);
    canvas.height = Math.round(height * scale * density);
    const context = canvas.getContext("2d");
    context.scale(density, density);
    this.#drawPicture(context, scale, width * scale, height * scale);
    context.lineJoin = "round";
    for (const cell of this.#cells) this.#drawCell(context, cell, scale);
    if (this.shows.numbers) for (const cell of this.#cells) this.#drawNumber(context, cell, scale);
    this.#drawScaleBar(context, scale, width * scale, height * scale);
  }

  #size() {
    return this.#frame.reply.segmentation;
  }

  #scale() {
    return this.#canvas.clientWidth / this.#size().width;
  }

  #drawPicture(context, scale, width, height) {
    // A little more than there is: half a pixel at an edge would be half grey.
    const everywhere = [0, 0, width + 2, height + 2];
    context.fillStyle = "#000";
    context.fillRect(...everywhere);
    if (this.#picture) {
      const { width: across, height: down, scale: pixel } = this.#frame.picture;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.#picture, 0, 0, across * pixel * scale, down * pixel * scale);
    }
    if (this.isRed) {
      // Dim too, so that lines stand out by brightness alone.
      context.globalCompositeOperation = "multiply";
      context.fillStyle = "#8c0000";
      context.fillRect(...everywhere);
      context.globalCompositeOperation = "source-over";
    }
  }

  #drawCell(context, cell, scale) {
    const [line, dash] = colour(this.#number(cell), this.isRed);
    context.save();
    context.scale(scale, scale);
    context.fillStyle = context.strokeStyle = line;
    const isUnder = cell === this.#under;
    if (this.shows.fill || isUnder) {
      context.globalAlpha = isUnder ? UNDER_POINTER : FILL;
      context.fill(cell.path, "evenodd");
      context.globalAlpha = 1;
    }
    if (this.shows.outlines) {
      context.lineWidth = (isUnder ? 2.6 : 1.6) / scale;
      context.setLineDash(dash.map((length) => length / scale));
      context.stroke(cell.path);
    }
    context.restore();
  }

  #drawNumber(context, cell, scale) {
    const [left, top, right, bottom] = cell.box;
    if (Math.min(right - left, bottom - top) * scale < NUMBERED) return;
    const text = String(cell.track ?? cell.label);
    words(context, text, ((left + right) / 2) * scale, ((top + bottom) / 2) * scale, this.isRed, 11);
  }

  #drawScaleBar(context, scale, width, height) {
    const micrometres = this.#frame.reply.metadata?.pixel_size_um;
    if (!micrometres) return;
    const length = roundLength((micrometres * width * SCALE_BAR) / scale);
    const pixels = (length / micrometres) * scale;
    const [right, bottom] = [width - 14, height - 12];
    context.fillStyle = "#000";
    context.fillRect(right - pixels - 1.5, bottom - 5.5, pixels + 3, 7);
    context.fillStyle = this.isRed ? "#f00" : "#fff";
    context.fillRect(right - pixels, bottom - 4, pixels, 4);
    words(context, inWords(length), right - pixels / 2, bottom - 15, this.isRed, 12.5);
  }

  #number(cell) {
    return this.by === "track" ? (cell.track ?? cell.label) : cell.class;
  }
}

// A cell with its lines as a path, in pixels of the frame, and their box.
function outlined(cell) {
  const path = new Path2D();
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const ring of cell.rings) {
    let x = 0;
    let y = 0;
    for (let i = 0; i < ring.length; i += 2) {
      x += ring[i];
      y += ring[i + 1];
      if (i) path.lineTo(x, y);
      else path.moveTo(x, y);
      box[0] = Math.min(box[0], x);
      box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x);
      box[3] = Math.max(box[3], y);
    }
    path.closePath();
  }
  return { ...cell, path, box };
}

function words(context, text, x, y, isRed, size) {
  context.font = `600 ${size}px system-ui, "DejaVu Sans", sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = 3;
  context.strokeStyle = "rgb(0 0 0 / 75%)";
  context.strokeText(text, x, y);
  context.fillStyle = isRed ? "#f00" : "#fff";
  context.fillText(text, x, y);
}

// The longest of 1, 2 or 5 times a power of ten that is not over `most`.
export function roundLength(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return ([5, 2].find((factor) => factor * power <= most) ?? 1) * power;
}

function inWords(micrometres) {
  if (micrometres >= 1000) return `${micrometres / 1000} mm`;
  return micrometres >= 1 ? `${micrometres} µm` : `${Math.round(micrometres * 1000)} nm`;
}
