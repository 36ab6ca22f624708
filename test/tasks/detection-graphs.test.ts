/** Detectors of objects as exporters leave them: small graphs made here. */
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { imageTensor, layoutOf } from "../../src/tasks/image/image.ts";
import { objectDetection } from "../../src/tasks/object-detection.ts";
import { toF64 } from "../../src/tensor/convert.ts";
import { FormatError, InputError, UnsupportedOpError } from "../../src/tensor/errors.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { encodeModel, node } from "../onnx/encode.ts";

const options = { device: "wasm", threads: 1 } as const;
const f32 = (shape: number[], ...values: number[]): HostTensor => ({
  dtype: "f32",
  shape,
  data: Float32Array.from(values),
});
const zeros = (shape: number[]): number[] => new Array<number>(shape.reduce((a, b) => a * b, 1)).fill(0);
type Dims = (number | string)[];
const cast = (from: string, to: string, dtype: number) => node("Cast", [from], [to], { to: { int: dtype } });
const [toF32, toI64, toF16] = [1, 7, 10];

describe("detectors", () => {
  /** Gives these boxes, `x, y, w, h, scores...`, for images of 8 x 8, and empty ones up to eight. */
  const detector = (list: number[][], spec: DetectorSpec = {}) => {
    const {
      shape = [1, 3, 8, 8],
      dtype = "f32",
      metadata = {},
      pixels = "f32",
      other = [],
      masks = 0,
      beside = {},
    } = spec;
    const rows = Array.from(list[0], (_, r) => Array.from({ length: 8 }, (_, i) => list[i]?.[r] ?? 0));
    return encodeModel({
      metadata,
      inputs: [
        { name: "images", dtype: pixels, shape },
        ...other.map((name) => ({ name, dtype: "i64" as const, shape })),
      ],
      initializers: {
        ...Object.fromEntries(Object.entries(beside).map(([name, s]) => [`${name}0`, f32(s, ...zeros(s))])),
        m: f32([1, masks, 1, 1], ...new Array<number>(masks).fill(0)),
        k: f32([1, rows.length, 8], ...rows.flat()),
        zero: f32([1], 0),
        axes: hostTensor(BigInt64Array.of(1n, 2n, 3n)),
      },
      nodes: [
        cast("images", "wide", toF32),
        node("ReduceSum", ["wide", "axes"], ["s"], { keepdims: { int: 0 } }),
        node("Mul", ["s", "zero"], ["sz"]),
        node("Add", ["k", "sz"], ["sum"]),
        cast("sum", "output0", { f32: toF32, f16: toF16, i64: toI64 }[dtype]),
        ...(masks > 0 ? [node("Identity", ["m"], ["output1"])] : []),
        ...other.map((name, i) => node("Identity", [name], [`other${i}`])),
        ...Object.keys(beside).map((name) => node("Identity", [`${name}0`], [name])),
      ],
      outputs: [
        { name: "output0", dtype },
        ...[...(masks > 0 ? ["output1"] : []), ...Object.keys(beside)].map((name) => ({ name, dtype: "f32" as const })),
      ],
    });
  };
  interface DetectorSpec {
    shape?: Dims;
    dtype?: "f32" | "f16" | "i64";
    metadata?: Record<string, string>;
    /** Of the input. */
    pixels?: "f32" | "f16" | "u8";
    /** Inputs after it. */
    other?: string[];
    /** How many parts masks have. */
    masks?: number;
    /** Shapes of outputs behind the first. */
    beside?: Record<string, number[]>;
  }
  const square = { width: 8, height: 8, data: new Uint8Array(192) };
  const flat = { width: 16, height: 8, data: new Uint8Array(384) };
  async function found(model: Uint8Array, pixels = square, given: object = {}) {
    using opened = await objectDetection(model, options);
    return await opened.detect(pixels, given);
  }

  test("boxes end at the image's edges; those beyond it, and what is no number, are left out", async () => {
    const [whole] = await found(detector([[4, 4, 40, 40, 0.9, 0.1]]), flat);
    expect(whole.box).toEqual({ x: 0, y: 0, width: 16, height: 8 });
    // The image is in the middle four rows of eight.
    const inPadding = [
      [4, 0.5, 2, 0.6, 0.9, 0.1],
      [4, 7.5, 2, 0.6, 0.1, 0.9],
      [-5, 4, 2, 2, 0.9, 0.1],
      [20, 4, 2, 2, 0.9, 0.1],
      [4, 4, -2, 2, 0.9, 0.1],
      [4, 4, 0, 0, 0.9, 0.1],
    ];
    expect(await found(detector(inPadding), flat)).toEqual([]);
    for (const strange of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      for (let k = 0; k < 4; k++) {
        const box = [4, 4, 2, 2, 0.9, 0.1];
        box[k] = strange;
        expect(await found(detector([box]))).toEqual([]);
      }
  });

  test("what is left out takes no places", async () => {
    const boxes = [
      [4, 0.5, 2, 0.6, 0.9, 0.1],
      [4, 4, 4, 2, 0.1, 0.8],
      [4, 4, 2, 2, 0.7, 0.1],
    ];
    const seen = await found(detector(boxes), flat, { limit: 1 });
    expect(seen.map((o) => o.label)).toEqual(["class 1", "class 0"]);
    expect(seen[0].box).toEqual({ x: 4, y: 2, width: 8, height: 4 });
    expect(seen[0].score).toBeCloseTo(0.8, 6);
    expect(seen[1].score).toBeCloseTo(0.7, 6);
  });

  test("a box is of its likeliest class alone, and takes no place in others", async () => {
    const boxes = [
      [4, 4, 4, 4, 0.75, 0.875],
      [4, 4, 4, 3.5, 0.5, 0.25],
    ];
    const seen = await found(detector(boxes));
    expect(seen.map((o) => [o.label, o.score, o.box.height])).toEqual([
      ["class 1", 0.875, 4],
      ["class 0", 0.5, 3.5],
    ]);
  });

  test("half floats are numbers; integers are refused", async () => {
    const boxes = [[4, 4, 4, 2, 0.75, 0.125]];
    expect(await found(detector(boxes, { dtype: "f16" }))).toEqual([
      { label: "class 0", score: 0.75, box: { x: 2, y: 3, width: 4, height: 2 } },
    ]);
    await expect(found(detector(boxes, { dtype: "i64" }))).rejects.toThrow(UnsupportedOpError);
  });

  test("images of half floats and bytes", async () => {
    for (const pixels of ["f16", "u8"] as const) {
      const model = detector([[4, 4, 4, 2, 0.75, 0.125]], { pixels });
      expect((await found(model)).map((o) => o.box)).toEqual([{ x: 2, y: 3, width: 4, height: 2 }]);
    }
    const { dtype, data } = imageTensor(
      { width: 1, height: 2, data: Uint8Array.of(255, 0, 51, 102, 128, 204) },
      layoutOf({ name: "x", dtype: "f16", shape: [1, 2, 1, 3] }),
    );
    expect(dtype).toBe("f16");
    const halves = toF64({ dtype, data });
    [1, 0, 0.2, 0.4, 128 / 255, 0.8].forEach((v, i) => {
      expect(Math.abs(halves[i] - v)).toBeLessThan(2 ** -12);
    });
  });

  test("a score as high as the least counts; the least is a number", async () => {
    const model = detector([
      [2, 4, 2, 2, 0.5, 0.25],
      [6, 4, 2, 2, 0.75, 0],
    ]);
    const scores = async (threshold: number) => (await found(model, square, { threshold })).map((o) => o.score);
    expect(await scores(0.5)).toEqual([0.75, 0.5]);
    expect(await scores(0.5 + 2 ** -52)).toEqual([0.75]);
    expect(await scores(0.75)).toEqual([0.75]);
    expect(await scores(0.76)).toEqual([]);
    expect((await scores(0)).filter((v) => v > 0)).toEqual([0.75, 0.5]);
    for (const given of [{ threshold: "0.5" }, { overlap: "0.5" }, { threshold: null }, { threshold: 1.1 }])
      await expect(found(model, square, given)).rejects.toThrow(InputError);
  });

  test("a file's height and width, where the model takes any", async () => {
    const spec = { shape: [1, 3, "h", "w"], metadata: { imgsz: "[8, 16]" } };
    // As large as the rectangle that flat images are fitted into.
    const [whole] = await found(detector([[8, 4, 16, 8, 0.9, 0.1]], spec), flat);
    expect(whole.box).toEqual({ x: 0, y: 0, width: 16, height: 8 });
    const [high] = await found(detector([[8, 4, 4, 4, 0.9, 0.1]], spec), square);
    expect(high.box).toEqual({ x: 2, y: 2, width: 4, height: 4 });
    await expect(
      objectDetection(detector([[0]], { ...spec, metadata: { imgsz: "[8, 9000]" } }), options),
    ).rejects.toThrow(/"imgsz" says 9000/);
  });

  test("models of other tasks, and such that take more than an image, are refused when loaded", async () => {
    for (const task of ["pose", "obb", "classify"]) {
      const model = detector([[4, 4, 4, 2, 0.9, 0.1]], { metadata: { task } });
      await expect(objectDetection(model, options)).rejects.toThrow(UnsupportedOpError);
      await expect(objectDetection(model, options)).rejects.toThrow(`this model's is "${task}"`);
    }
    const detr = detector([[4, 4, 4, 2, 0.9, 0.1]], { other: ["pixel_mask"] });
    await expect(objectDetection(detr, options)).rejects.toThrow(UnsupportedOpError);
    await expect(objectDetection(detr, options)).rejects.toThrow("takes one image, not images, pixel_mask");
  });

  test("behind the classes of a box may be a mask's numbers, and nothing else", async () => {
    const names = "{0: 'cat', 1: 'dog'}";
    const boxes = [[4, 4, 4, 2, 0.125, 0.75, 9, 9]];
    const model = detector(boxes, { metadata: { task: "segment", names }, masks: 2 });
    expect(await found(model)).toEqual([{ label: "dog", score: 0.75, box: { x: 2, y: 3, width: 4, height: 2 } }]);
    const others: Record<string, string>[] = [{ names }, { names, task: "detect" }];
    for (const metadata of others) {
      await expect(found(detector(boxes, { metadata }))).rejects.toThrow(UnsupportedOpError);
      await expect(found(detector(boxes, { metadata }))).rejects.toThrow(/2 classes that the file names.*there are 4/);
    }
    using own = await objectDetection(detector(boxes, { metadata: { names } }), { ...options, labels: ["a"] });
    await expect(own.detect(square)).rejects.toThrow(/1 labels for 4 classes/);
  });

  test("boxes in an output of their own are another detector's, unless YOLO makes its first of them", async () => {
    const boxes = [[4, 4, 4, 2, 0.1, 0.75, 0.1]];
    for (const shape of [
      [1, 7, 4],
      [1, 4, 8],
    ])
      for (const labels of [undefined, ["a", "b", "c", "d", "e", "f", "g"]]) {
        using other = await objectDetection(detector(boxes, { beside: { pred_boxes: shape } }), { ...options, labels });
        await expect(other.detect(square)).rejects.toThrow(UnsupportedOpError);
        await expect(other.detect(square)).rejects.toThrow(`not f32[1,7,8] beside boxes f32[${shape}]`);
      }
    const maps = { p3: [1, 3, 1, 1, 8], p4: [1, 67, 1, 1] };
    for (const beside of [maps, { raw: [1, 4, 8], scores: [1, 3, 8], ...maps }])
      expect((await found(detector(boxes, { beside }))).map((o) => o.label)).toEqual(["class 1"]);
    const four = detector([[...boxes[0], 0.1]], { beside: { raw: [1, 64, 8], scores: [1, 4, 8] } });
    expect(await found(four)).toHaveLength(1);
  });

  test("more classes than boxes are YOLO's where as many have names", async () => {
    const boxes = [[4, 4, 4, 2, ...new Array<number>(8).fill(0.1), 0.9]];
    const names = `{${boxes[0].slice(4).map((_, i) => `${i}: 'n${i}'`)}}`;
    expect((await found(detector(boxes, { metadata: { names } }))).map((o) => o.label)).toEqual(["n8"]);
    const others: Record<string, string>[] = [{}, { names: "{0: 'a'}" }];
    for (const metadata of others) {
      const refused = found(detector(boxes, { metadata }));
      await expect(refused).rejects.toThrow(UnsupportedOpError);
      await expect(refused).rejects.toThrow("not f32[1,13,8]");
    }
  });

  test.each([
    [String.raw`'a\'b"c'`, `a'b"c`],
    [String.raw`'and\\or'`, "and\\or"],
    [String.raw`'\\x41'`, "\\x41"],
    [String.raw`'1\n2\t3\r4'`, "1\n2\t3\r4"],
    [String.raw`'\xad\u200b\U000e0001'`, "\u00ad\u200b\u{e0001}"],
    [String.raw`'\q\xzz\Uffffffff'`, String.raw`\q\xzz\Uffffffff`],
  ])("the name of a class that Python prints as %s", async (printed, name) => {
    const boxes = [[4, 4, 4, 2, 0.9, 0.1]];
    const [{ label }] = await found(detector(boxes, { metadata: { names: `{0: ${printed}, 1: "b"}` } }));
    expect(label).toBe(name);
  });

  test("names of classes: gaps are numbered, numbers beyond reason refused", async () => {
    const boxes = [[4, 4, 4, 2, 0.1, 0.9, 0.1]];
    const named = (names: string) => found(detector(boxes, { metadata: { names } }));
    expect((await named(`{0: 'a', 1: "b's", 2: 'c'}`))[0].label).toBe("b's");
    expect((await named("{0: 'a', 2: 'c'}"))[0].label).toBe("class 1");
    for (const n of ["65536", "400000000", "9".repeat(400)]) {
      await expect(named(`{${n}: 'a'}`)).rejects.toThrow(FormatError);
      await expect(named(`{${n}: 'a'}`)).rejects.toThrow(/pass \{ labels \}/);
    }
    // Digits without an end are read once, not from each on.
    expect(await named("1".repeat(300_000))).toHaveLength(1);
  });

  test("size is a whole number within reason, of the options and of the file", async () => {
    const model = detector([[4, 4, 4, 2, 0.9, 0.1]], { shape: [1, 3, "h", "w"] });
    for (const size of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 8193, "640"])
      await expect(objectDetection(model, { ...options, size: size as number })).rejects.toThrow(InputError);
    for (const imgsz of ["[0, 0]", "[1000000000, 640]"]) {
      const strange = detector([[4, 4, 4, 2, 0.9, 0.1]], { shape: [1, 3, "h", "w"], metadata: { imgsz } });
      await expect(objectDetection(strange, options)).rejects.toThrow(/"imgsz".*pass \{ size \}/);
      using sized = await objectDetection(strange, { ...options, size: 16 });
      expect((await sized.detect(square))[0].box).toEqual({ x: 1, y: 1.5, width: 2, height: 1 });
    }
  });

  test("boxes are those of the upright photo", async () => {
    const white = { create: { width: 8, height: 16, channels: 3, background: "white" } } as const;
    for (const orientation of [6, 8, 3]) {
      const photo = new Uint8Array(await sharp(white).withMetadata({ orientation }).jpeg().toBuffer());
      using opened = await objectDetection(detector([[4, 4, 40, 40, 0.9, 0.1]]), options);
      const [{ box }] = await opened.detect(photo);
      const [width, height] = orientation === 3 ? [8, 16] : [16, 8];
      expect(box).toEqual({ x: 0, y: 0, width, height });
    }
  });
});
