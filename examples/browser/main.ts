/** The page: what is drawn, dropped and typed goes to the engine, and its answers come back here. */
/// <reference types="vite/client" />
import errorTable from "../../docs/errors.md?raw";
import { probabilities } from "../demo/softmax.ts";
import { milliseconds, showProbabilities, showTimings } from "./charts.ts";
import { call } from "./engine.ts";
import { Pad } from "./pad.ts";
import { acceptPictures, photoPixels } from "./picture.ts";
import type { Answer, Timing } from "./worker.ts";

const find = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;
const base = document.baseURI;

const digits = [..."0123456789"];
const things = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

// ---- the backend ---------------------------------------------------------------------------------------------------

const radios = [...document.querySelectorAll<HTMLInputElement>("input[name=device]")];
const deviceNote = find("device-note");
/** What the page shows is asked for again on another backend. */
let again: (() => void)[] = [];
let ready: Promise<unknown> = startUp();

async function startUp(): Promise<void> {
  const there = await call("backends", [base]);
  for (const radio of radios) {
    radio.disabled = !there[radio.value as keyof typeof there];
    if (radio.disabled) radio.parentElement!.title = "Not available in this browser";
  }
  await useDevice();
}

async function useDevice(): Promise<void> {
  const name = radios.find((r) => r.checked)!.value as "wasm";
  deviceNote.textContent = "starting ...";
  try {
    deviceNote.textContent = await call("use", [name]);
  } catch (e) {
    deviceNote.textContent = (e as Error).message;
  }
}

for (const radio of radios)
  radio.addEventListener("change", () => {
    ready = ready.then(useDevice);
    for (const ask of again) ask();
  });

/** Some errors list every operator of a model. */
const messageLimit = 240;

function showError(e: unknown, at: HTMLElement): void {
  const message = e instanceof Error ? e.message : String(e);
  const textContent = message.length > messageLimit ? `${message.slice(0, messageLimit)} ...` : message;
  at.replaceChildren(Object.assign(document.createElement("span"), { className: "error", textContent }));
}

function timings(what: string, rows: readonly Timing[]): void {
  find("timings-about").textContent = `${what}, kernel by kernel. Measuring each one takes some time itself.`;
  showTimings(find("timings-bars"), rows);
}

// ---- pictures ------------------------------------------------------------------------------------------------------

type Picture = "digit" | "photo";
/** How many were asked about: answers on all but the latest come too late. */
const asked = { digit: 0, photo: 0 };

async function classify(what: Picture, model: string, labels: readonly string[], pixels: Float32Array) {
  const verdict = find(`${what}-verdict`);
  const turn = ++asked[what];
  verdict.classList.add("busy");
  try {
    await ready;
    const { logits, ms, timings: rows }: Answer = await call("classify", [model, pixels]);
    if (turn !== asked[what]) return;
    verdict.classList.remove("busy");
    const p = probabilities(logits);
    const most = Math.max(...p);
    const answer = Object.assign(document.createElement("b"), { textContent: labels[p.indexOf(most)] });
    const detail = document.createElement("small");
    detail.textContent = `${Math.round(100 * most)}% sure, in ${milliseconds(ms)}`;
    verdict.replaceChildren(answer, detail);
    showProbabilities(find(`${what}-bars`), labels, p);
    timings(what === "digit" ? "One digit" : "One photo", rows);
  } catch (e) {
    if (turn === asked[what]) showFailure(what, e);
  }
}

/** Takes away what is said of the latest picture, or would be. */
function forget(what: Picture): void {
  asked[what]++;
  find(`${what}-verdict`).classList.remove("busy");
  find(`${what}-bars`).replaceChildren();
}

function showFailure(what: Picture, e: unknown): void {
  forget(what);
  showError(e, find(`${what}-verdict`));
}

const digitHint = find("digit-verdict").textContent!;
const pad = new Pad(find("pad"), readDigit);
function readDigit(): void {
  const pixels = pad.pixels();
  if (pixels) classify("digit", "mnist-cnn", digits, pixels);
}
find("clear").addEventListener("click", () => {
  pad.clear();
  forget("digit");
  find("digit-verdict").textContent = digitHint;
});
acceptPictures(
  find("pad"),
  find("digit-file"),
  (picture) => pad.show(picture),
  (message) => showFailure("digit", message),
);

let photo: ImageBitmap | undefined;
function readPhoto(): void {
  if (photo) classify("photo", "cifar10-cnn", things, photoPixels(photo, find("photo-canvas")));
}
function usePhoto(picture: ImageBitmap): void {
  photo = picture;
  find("drop").classList.add("filled");
  readPhoto();
}
acceptPictures(find("drop"), find("photo-file"), usePhoto, (message) => showFailure("photo", message));
find("drop").addEventListener("click", () => find("photo-file").click());
find("photo-file").addEventListener("click", (e) => e.stopPropagation());
find("drop").addEventListener("keydown", (e) => {
  if (e.key === "Enter" || e.key === " ") find("photo-file").click();
});

const samples = ["0-cat", "1-ship", "3-airplane", "4-frog", "6-automobile", "2-ship", "5-frog", "7-frog"];
for (const name of samples) {
  const url = new URL(`models/cifar10-test-${name}.png`, base).href;
  const image = Object.assign(new Image(), { src: url, alt: name.split("-")[1] });
  const button = document.createElement("button");
  button.type = "button";
  button.append(image);
  button.addEventListener("click", async () => usePhoto(await createImageBitmap(await (await fetch(url)).blob())));
  find("samples").append(button);
}
// So that there is something to see.
find("samples").querySelector("button")!.click();

again = [readDigit, readPhoto];

// ---- stories -------------------------------------------------------------------------------------------------------

let model: string | File = "models/stories15M.bin";
const tellButton = find<HTMLButtonElement>("tell");
const stopButton = find<HTMLButtonElement>("stop");
const temperature = find<HTMLInputElement>("temperature");
temperature.addEventListener("input", () => {
  find("temperature-value").textContent = temperature.value;
});
find<HTMLInputElement>("story-file").addEventListener("change", (e) => {
  const file = (e.target as HTMLInputElement).files?.[0];
  if (!file) return;
  model = file;
  find("story-model").textContent = `${file.name}, ${megabytes(file.size)}: GGUF or llama2.c.`;
});

const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;

async function tell(): Promise<void> {
  const text = find("story-text");
  const note = find("story-note");
  const progress = find<HTMLProgressElement>("story-progress");
  const prompt = find<HTMLTextAreaElement>("prompt").value.trimEnd();
  const start = document.createElement("mark");
  start.textContent = prompt;
  text.hidden = false;
  text.replaceChildren(start);
  tellButton.disabled = true;
  stopButton.disabled = false;
  note.textContent = "starting ...";
  let tokens = 0;
  try {
    await ready;
    const told = await call("tell", [model, prompt, Number(temperature.value)], (event) => {
      progress.hidden = "piece" in event;
      if ("piece" in event) {
        text.append(event.piece);
        note.textContent = `${++tokens} tokens ...`;
      } else {
        progress.value = event.total ? event.loaded / event.total : 0;
        const some = `loading: ${megabytes(event.loaded)} of ${megabytes(event.total)}`;
        note.textContent = event.loaded < event.total ? some : "starting ...";
      }
    });
    note.textContent = told ? `${told.tokens} tokens, ${Math.round(told.perSecond)} a second` : "stopped";
    if (told) timings("One token of the story", told.timings);
  } catch (e) {
    showError(e, note);
  } finally {
    progress.hidden = true;
    tellButton.disabled = false;
    stopButton.disabled = true;
  }
}
tellButton.addEventListener("click", tell);
stopButton.addEventListener("click", () => call("stop", []));

// ---- errors --------------------------------------------------------------------------------------------------------

find("verify").addEventListener("click", async () => {
  const table = find("error-table");
  const body = table.querySelector("tbody")!;
  const note = find("verify-note");
  body.replaceChildren();
  table.hidden = false;
  note.textContent = "checking ...";
  try {
    await ready;
    let worst: number | undefined;
    let failures = 0;
    await call("verify", [], ({ op, shapes, kernel, error, missing, failure }) => {
      const row = document.createElement("tr");
      // Narrow screens break names after a slash.
      for (const cell of [
        op,
        kernel.replaceAll("/", "/\u200b"),
        error === undefined ? "not here" : error === 0 ? "exact" : error.toExponential(1),
      ])
        row.append(Object.assign(document.createElement("td"), { textContent: cell }));
      row.firstChild!.appendChild(Object.assign(document.createElement("small"), { textContent: shapes }));
      if (missing) row.title = missing;
      if (failure !== undefined) {
        failures++;
        showError(failure, row.lastElementChild as HTMLElement);
      }
      body.append(row);
      if (error !== undefined) worst = Math.max(worst ?? 0, error);
    });
    const most = worst === undefined ? "no operator ran" : `at most ${worst.toExponential(1)}`;
    note.textContent = `done: ${most}${failures ? `, ${failures} failed` : ""}`;
  } catch (e) {
    showError(e, note);
  }
});

/** Rows of docs/errors.md. */
const measured = errorTable
  .split("\n")
  .filter((line) => /^\| *\w/.test(line))
  .map((line) => line.slice(1, -1).split("|"));
for (const [i, cells] of measured.entries()) {
  const row = find<HTMLTableElement>("all-errors-table").insertRow();
  for (const cell of cells)
    row.append(Object.assign(document.createElement(i ? "td" : "th"), { textContent: cell.trim() }));
}
