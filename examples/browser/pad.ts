/** A canvas to draw a digit on, and what is on it as the network wants it. */
const side = 28;

export class Pad {
  private readonly context: CanvasRenderingContext2D;
  private last: { x: number; y: number } | undefined;

  /** @param changed called when something was drawn */
  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly changed: () => void,
  ) {
    this.context = canvas.getContext("2d", { willReadFrequently: true })!;
    this.clear();
    canvas.addEventListener("pointerdown", (e) => {
      canvas.setPointerCapture(e.pointerId);
      this.last = this.at(e);
      this.line(this.last, this.last);
    });
    canvas.addEventListener("pointermove", (e) => {
      if (!this.last) return;
      const to = this.at(e);
      this.line(this.last, to);
      this.last = to;
    });
    for (const type of ["pointerup", "pointercancel"] as const)
      canvas.addEventListener(type, () => {
        if (this.last) changed();
        this.last = undefined;
      });
  }

  clear(): void {
    this.canvas.parentElement!.classList.remove("inked");
    this.context.fillStyle = "#000";
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Puts a picture there, light on dark as the digits that the network knows. */
  show(picture: ImageBitmap): void {
    const { width, height } = this.canvas;
    const scale = Math.min(width / picture.width, height / picture.height);
    const [w, h] = [picture.width * scale, picture.height * scale];
    this.clear();
    this.canvas.parentElement!.classList.add("inked");
    this.context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
    const image = this.context.getImageData(0, 0, width, height);
    const grey = greyOf(image);
    const mean = grey.reduce((a, b) => a + b, 0) / grey.length;
    grey.forEach((v, i) => {
      image.data.fill(255 * (mean > 0.5 ? 1 - v : v), 4 * i, 4 * i + 3);
    });
    this.context.putImageData(image, 0, 0);
    this.changed();
  }

  /** 28 x 28 pixels of 0 to 1: the ink scaled to 20 x 20 and centred by its mass, as MNIST was made. Undefined if empty. */
  pixels(): Float32Array | undefined {
    const { width, height } = this.canvas;
    const grey = greyOf(this.context.getImageData(0, 0, width, height));
    const box = { left: width, right: -1, top: height, bottom: -1 };
    let mass = 0;
    let [x, y] = [0, 0];
    grey.forEach((v, i) => {
      if (v < 0.1) return;
      const [px, py] = [i % width, Math.floor(i / width)];
      box.left = Math.min(box.left, px);
      box.right = Math.max(box.right, px);
      box.top = Math.min(box.top, py);
      box.bottom = Math.max(box.bottom, py);
      mass += v;
      x += v * px;
      y += v * py;
    });
    if (mass === 0) return undefined;
    const scale = 20 / Math.max(box.right - box.left + 1, box.bottom - box.top + 1);
    const small = new OffscreenCanvas(side, side).getContext("2d")!;
    small.fillRect(0, 0, side, side);
    small.imageSmoothingQuality = "high";
    const at = (centre: number): number => side / 2 - (centre + 0.5) * scale;
    small.drawImage(this.canvas, at(x / mass), at(y / mass), width * scale, height * scale);
    return greyOf(small.getImageData(0, 0, side, side));
  }

  private at(e: PointerEvent): { x: number; y: number } {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return {
      x: ((e.clientX - left) / width) * this.canvas.width,
      y: ((e.clientY - top) / height) * this.canvas.height,
    };
  }

  private line(from: { x: number; y: number }, to: { x: number; y: number }): void {
    const { context } = this;
    this.canvas.parentElement!.classList.add("inked");
    context.strokeStyle = "#fff";
    context.lineWidth = 22;
    context.lineCap = "round";
    context.lineJoin = "round";
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    context.stroke();
  }
}

function greyOf({ data }: ImageData): Float32Array {
  return Float32Array.from(
    { length: data.length / 4 },
    (_, i) => (data[4 * i] + data[4 * i + 1] + data[4 * i + 2]) / 765,
  );
}
