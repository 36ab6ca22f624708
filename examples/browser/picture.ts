/** Photos as the network wants them: [3, 32, 32], 0 to 1. */
const side = 32;

/** The middle square of a picture, scaled down; also drawn on `canvas`, so that one sees what the network sees. */
export function photoPixels(picture: ImageBitmap, canvas: HTMLCanvasElement): Float32Array {
  const small = new OffscreenCanvas(side, side).getContext("2d")!;
  const size = Math.min(picture.width, picture.height);
  const [x, y] = [(picture.width - size) / 2, (picture.height - size) / 2];
  small.imageSmoothingQuality = "high";
  small.drawImage(picture, x, y, size, size, 0, 0, side, side);
  const shown = canvas.getContext("2d")!;
  shown.imageSmoothingEnabled = false;
  shown.drawImage(small.canvas, 0, 0, canvas.width, canvas.height);
  const { data } = small.getImageData(0, 0, side, side);
  const plane = side * side;
  return Float32Array.from({ length: 3 * plane }, (_, i) => data[4 * (i % plane) + Math.floor(i / plane)] / 255);
}

/** Lets `target` take dropped pictures, and `input` chosen ones. */
export function acceptPictures(
  target: HTMLElement,
  input: HTMLInputElement,
  use: (picture: ImageBitmap) => void,
  failed: (message: string) => void,
): void {
  const open = async (file: Blob | null | undefined): Promise<void> => {
    if (!file) return;
    try {
      use(await createImageBitmap(file));
    } catch {
      failed("This file is no picture that the browser can read.");
    }
  };
  input.addEventListener("change", () => {
    open(input.files?.[0]);
    input.value = "";
  });
  const over = (on: boolean) => (e: DragEvent) => {
    e.preventDefault();
    target.classList.toggle("over", on);
  };
  target.addEventListener("dragover", over(true));
  target.addEventListener("dragleave", over(false));
  target.addEventListener("drop", (e) => {
    over(false)(e);
    open(e.dataTransfer?.files[0]);
  });
}
