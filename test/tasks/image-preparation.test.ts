/** Pictures on their way to a model: upright, at the size and with the values that image processors give them. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, describe, expect, test } from "vitest";
import { imageDecoder } from "../../src/ops/image-decoder.ts";
import { type ImageInput, type ImageLayout, imageTensor, type Pixels, readImage } from "../../src/tasks/image/image.ts";
import { preparationIn } from "../../src/tasks/image/preparation.ts";
import { resample } from "../../src/tasks/image/resample.ts";
import { imageClassification } from "../../src/tasks/image-classification.ts";
import { FormatError, InputError } from "../../src/tensor/errors.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { encodeModel, node } from "../onnx/encode.ts";

const scratch = await mkdtemp(join(tmpdir(), "forwardpass-pictures-"));
afterAll(() => rm(scratch, { recursive: true }));

const free: ImageLayout = { channels: 3, channelsFirst: false, height: "h", width: "w", dtype: "f32" };
const noise = (width: number, height: number): Pixels => {
  let state = 7;
  const next = (): number => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state >> 16;
  };
  return { width, height, data: Uint8Array.from({ length: width * height * 3 }, next) };
};

/** What a model sees, value by value, rows of pixels with their channels together. */
async function seen(preprocessor: object, image: ImageInput, sides: (number | string)[] = ["h", "w"], given = {}) {
  const folder = await mkdtemp(join(scratch, "model-"));
  const graph = encodeModel({
    inputs: [{ name: "pixel_values", dtype: "f32", shape: ["b", ...sides, 3] }],
    nodes: [node("Flatten", ["pixel_values"], ["logits"])],
    outputs: [{ name: "logits", dtype: "f32" }],
  });
  await writeFile(join(folder, "model.onnx"), graph);
  await writeFile(join(folder, "preprocessor_config.json"), JSON.stringify(preprocessor));
  using model = await imageClassification(folder, { device: "wasm", threads: 1, scoring: "none", ...given });
  const scores = await model.classify(image);
  return scores.sort((a, b) => a.index - b.index).map((s) => s.logit);
}

describe("photos as cameras store them", () => {
  // Red, green and blue blocks on white: no turn and no mirror image of it is the same.
  const upright = { width: 48, height: 32, data: new Uint8Array(48 * 32 * 3).fill(255) };
  for (let y = 0; y < 16; y++)
    for (let x = 0; x < 48; x++)
      upright.data.set(
        [
          [255, 0, 0],
          [0, 255, 0],
          [0, 0, 255],
        ][x >> 4],
        (y * 48 + x) * 3,
      );
  const raw = () => sharp(upright.data, { raw: { width: 48, height: 32, channels: 3 } });
  const stored = {
    3: () => raw().rotate(180),
    6: () => raw().rotate(270),
    8: () => raw().rotate(90),
  };
  const jpeg = async (orientation: 3 | 6 | 8) =>
    new Uint8Array(
      await stored[orientation]()
        .withMetadata({ orientation })
        .jpeg({ quality: 100, chromaSubsampling: "4:4:4" })
        .toBuffer(),
    );

  test.each([3, 6, 8] as const)("orientation %i is undone", async (orientation) => {
    const { width, height, data } = await readImage(await jpeg(orientation));
    expect([width, height]).toEqual([48, 32]);
    data.forEach((v, i) => {
      expect(Math.abs(v - upright.data[i])).toBeLessThan(8);
    });
    const small = await seen({ resample: 4 }, await jpeg(orientation), [2, 3]);
    const rows = [
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
      [1, 1, 1],
      [1, 1, 1],
      [1, 1, 1],
    ].flat();
    small.forEach((v, i) => {
      expect(Math.abs(v - rows[i])).toBeLessThan(0.05);
    });
  });

  test("the operator of ONNX leaves rows as they are stored", async () => {
    const work = imageDecoder.op.evaluate!([hostTensor(await jpeg(6))], {}, undefined as never) as Generator<unknown>;
    const decoded = await (work.next().value as Promise<unknown>);
    const [{ shape }] = work.next(decoded).value as HostTensor[];
    expect(shape).toEqual([48, 32, 3]);
  });
});

/** Bytes that transformers 4.57.6 with Pillow 12.3.0 makes of noise of 9 x 6, by type and file. */
const processors: [string, object, [number, number], string][] = [
  [
    "ViT",
    { size: { height: 3, width: 4 }, resample: 0 },
    [3, 4],
    "956ec21368283c5dee4a91115068d52eb7297999be668702cf46e9fbd4e55c11122b18f7",
  ],
  [
    "ViT",
    { size: { height: 3, width: 4 }, resample: 1 },
    [3, 4],
    "705b4d7778308246bf5c719a646e897972809c7d8381b670889973ad80cba0837086ab74",
  ],
  [
    "ViT",
    { size: { height: 3, width: 4 }, resample: 2 },
    [3, 4],
    "735b557675447f55ab6777926c6b81797476977a9081a87789957ca782b39a837a89a67b",
  ],
  [
    "ViT",
    { size: { height: 3, width: 4 }, resample: 3 },
    [3, 4],
    "735b4f767838814cb761759366698578717a9b7a8c80b0758b9c77ab80c19e827588aa79",
  ],
  [
    "ViT",
    { size: { height: 3, width: 4 }, resample: 4 },
    [3, 4],
    "7d4f597e703f6f53c4577a70565a6e845f8296779078b39a9fb36da783b797796086b690",
  ],
  [
    "ViT",
    { size: { height: 3, width: 4 }, resample: 5 },
    [3, 4],
    "7a54556e7f337652b25c7b7f60607b6d756c98709d7aac8897a678b283be9a807388aa8a",
  ],
  [
    "ViT",
    { size: { height: 5, width: 11 }, resample: 3 },
    [5, 11],
    "69565c92294d592d2f457b1398ac2fc21fc8485f809739cf7e79e335aca188217f595e4776777b99ad6969ab342e6620d748436e51e47a47d5717585519d5f69697a581c6f446e65854dcc8155b435a610af357d9562d89c72747d8b5462af9693c2c967951892c885759be3705be6b3689cd2ad75b0dfc1a3d740b1d00fb6dc439ceb577fc509c77fb07b57887d7e74ffb2f6a167d6723d3d87315e702ec05167d47ae67f",
  ],
  [
    "ViT",
    { size: 4, resample: 2 },
    [4, 4],
    "744d4b7872417a55ab6671976d71737376599259a8728f9570748a8375949da37893c24e929876b085b8946a7d7e9495",
  ],
  [
    "CLIP",
    { size: 5, crop_size: 4, resample: 3 },
    [4, 4],
    "662b34689c16ac3fa76d4ba793a46f448e25ae4a54714be87858ba578161974d789a6ca97da5d78d5ac6ccab88a7de80",
  ],
  [
    "CLIP",
    { size: { shortest_edge: 4 }, crop_size: { height: 3, width: 5 }, resample: 3 },
    [3, 5],
    "7c48535f5f2b8c7c447845a7736fc9595d6c84927c646c30a240c37c6e966778547665e4887a70a8a89f95be22",
  ],
  [
    "CLIP",
    { size: { shortest_edge: 3 }, crop_size: 5, resample: 3 },
    [5, 5],
    "000000000000000000000000000000000000735b4f767838814cb761759300000066698578717a9b7a8c80b0750000008b9c77ab80c19e827588aa79000000000000000000000000000000",
  ],
  [
    "CLIP",
    { size: 4, do_center_crop: false, resample: 3 },
    [4, 6],
    "7c48535f5f2b8c7c447845a7736fc95c6776595d6c84927c646c30a240c37c6e966699a36778547665e4887a70a8a89f95be2299d6629eb45880789ad78fdc936b7287568978b997",
  ],
  [
    "CLIP",
    { do_resize: false, crop_size: { height: 3, width: 11 }, resample: 3 },
    [3, 11],
    "000000616a06956ec28ad403136828d4571e3c5dee6e5ec04a91115f5d3b000000000000513ec253a416ad6ee5389411d0289aa34cf5c0347c59caf08495f3000000000000611b0b5068d59804f92eb7299955577999be78c01066870299e57f000000",
  ],
  [
    "DeiT",
    { size: { height: 5, width: 6 }, crop_size: { height: 4, width: 4 }, resample: 3 },
    [4, 4],
    "5546249982537840a57c6fd885ab5b6569239248bd6e6c9e7d56be627b42a354b483875f758ae3b2739db8d49aadd41e",
  ],
  ["DeiT", { size: 5, crop_size: 3, resample: 3 }, [3, 3], "6ca0408c4f65745cc06f679788607790777f8073d8c2a797acda47"],
  [
    "EfficientNet",
    { size: { height: 4, width: 4 }, crop_size: { height: 6, width: 6 }, do_center_crop: false, resample: 0 },
    [4, 4],
    "921325a1cd1342696623d7da53a416389411a34cf559caf05068d52eb7297999be668702cf46e9fbd4e55c11122b18f7",
  ],
  [
    "EfficientNet",
    { size: 4, resample: 0 },
    [4, 4],
    "921325a1cd1342696623d7da53a416389411a34cf559caf05068d52eb7297999be668702cf46e9fbd4e55c11122b18f7",
  ],
  [
    "ConvNext",
    { size: { shortest_edge: 4 }, resample: 2 },
    [4, 4],
    "656135877748784da4766ac080877b6d6f449a4fb58172947969ca887c77a29d9593b23a867a9cc98bcc946d7a886085",
  ],
  [
    "ConvNext",
    { size: 5, crop_pct: 0.6, resample: 2 },
    [5, 5],
    "6095164c8f1f9b5b4f974b89495ebe88a851307f2690593ca94c8a6856e79c68ce46912f925663b93db4a154de8d25dd3d9f4076754a9368867f93b06b64e79769a7bb8c86beb393a5d1a9",
  ],
  [
    "ConvNext",
    { do_resize: false, size: 4, resample: 2 },
    [6, 9],
    "6c4e74921325222e31a1cd13be12ed426966ce24fc23d7da8d2097616a06956ec28ad403136828d4571e3c5dee6e5ec04a91115f5d3b513ec253a416ad6ee5389411d0289aa34cf5c0347c59caf08495f3611b0b5068d59804f92eb7299955577999be78c01066870299e57f6cd235bcfb8f449deee23be1eccc8cbff5bfbec20bdbf86b9ce54f85b607cf46e94a4b2afbd4e58f4fe15c11128218a32b18f772df8f",
  ],
  [
    "Levit",
    { size: 4, crop_size: 4, resample: 3 },
    [4, 4],
    "5f5f2b8c7c447845a7736fc984927c646c30a240c37c6e967665e4887a70a8a89f95be2280789ad78fdc936b72875689",
  ],
  [
    "Perceiver",
    { size: 4, crop_size: 5, resample: 3 },
    [4, 4],
    "8ad403136828d4571e3c5deead6ee5389411d0289aa34cf59804f92eb7299955577999be449deee23be1eccc8cbff5bf",
  ],
  [
    "Perceiver",
    { size: 4, crop_size: 3, resample: 3 },
    [4, 4],
    "401e273b3d154b275637426e6f656f6f8749964e9c72809f798d7e8c74bdb09c8f9bb24d544f385d476153304b391d59",
  ],
  [
    "Perceiver",
    { size: { height: 3, width: 4 }, crop_size: { height: 4, width: 3 }, resample: 3 },
    [3, 4],
    "777a636b92318b4b956575965c4c836e6d82965f8e7d8f6f7db5749173cfc0c08eb1d632",
  ],
  [
    "Perceiver",
    { do_resize: false, size: 3, crop_size: 6 },
    [3, 3],
    "136828d4571e3c5dee389411d0289aa34cf52eb7299955577999be",
  ],
  [
    "TextNet",
    { size: { shortest_edge: 3 }, size_divisor: 3, resample: 2 },
    [3, 6],
    "7255586e72447e7443804da9766bb56174806164667c72a677765b9e71a68990677fb4898da459827aacbc86b99c8482907f6a86c080",
  ],
  [
    "TextNet",
    { size: 3, size_divisor: 4, crop_size: 3, resample: 2 },
    [3, 3],
    "744d4b7872417a55ab6d71737376599259a870748a8375949da378",
  ],
  [
    "PoolFormer",
    { size: 4, crop_size: 4, crop_pct: 0.75, resample: 3 },
    [4, 4],
    "662b34689c16ac3fa76d4ba793a46f448e25ae4a54714be87858ba578161974d789a6ca97da5d78d5ac6ccab88a7de80",
  ],
  [
    "MobileNetV2",
    { size: 4, crop_size: 3, resample: 2 },
    [3, 3],
    "656135877748784da480877b6d6f449a4fb57969ca887c77a29d95",
  ],
];

describe("what image processors of Hugging Face make of a picture", () => {
  test.each(processors)("%s %j", (type, json, sides, bytes) => {
    for (const ending of ["ImageProcessor", "ImageProcessorFast", "FeatureExtractor"]) {
      const key = ending === "FeatureExtractor" ? "feature_extractor_type" : "image_processor_type";
      const file = { ...json, [key]: type + ending, do_normalize: false, include_top: false };
      const { shape, data } = imageTensor(noise(9, 6), free, preparationIn(file, 3));
      expect(shape).toEqual([1, ...sides, 3]);
      const got = Array.from(data as Float32Array, (v) => Math.round(v * 255));
      expect(Buffer.from(got).toString("hex")).toBe(bytes);
    }
  });

  test("without a type one number is a square, or the shorter side where the middle is cut out", () => {
    const picture = noise(9, 6);
    const seenBy = (json: object) => imageTensor(picture, free, preparationIn({ do_normalize: false, ...json }, 3));
    expect(seenBy({ size: 4 })).toEqual(seenBy({ size: { height: 4, width: 4 } }));
    expect(seenBy({ size: 4, crop_size: 4, do_center_crop: false })).toEqual(seenBy({ size: [4, 4] }));
    const cut = seenBy({ size: { shortest_edge: 5 }, do_center_crop: true, crop_size: { height: 4, width: 4 } });
    expect(seenBy({ size: 5, crop_size: 4, do_center_crop: true })).toEqual(cut);
    expect(seenBy({ size: 5, crop_size: 4 })).toEqual(cut);
    expect(seenBy({ size: 4 })).toEqual(seenBy({ size: 4, resample: 2 }));
  });

  test("TextNet's sides are multiples of 32 where its file says none", () => {
    const file = { image_processor_type: "TextNetImageProcessor", size: { shortest_edge: 40 } };
    expect(imageTensor(noise(9, 6), free, preparationIn(file, 3)).shape).toEqual([1, 64, 64, 3]);
  });

  test("ConvNeXT's stretches from 384 on", () => {
    const picture = noise(9, 6);
    const file = { image_processor_type: "ConvNextImageProcessor", size: { shortest_edge: 384 }, crop_pct: 0.875 };
    const { shape, data } = imageTensor(picture, free, preparationIn({ ...file, do_rescale: false }, 3));
    expect(shape).toEqual([1, 384, 384, 3]);
    expect([...data]).toEqual([...resample(picture, { x: 0, y: 0, width: 9, height: 6 }, 384, 384)]);
    const small = { ...file, size: { shortest_edge: 383 }, do_rescale: false };
    expect(imageTensor(picture, free, preparationIn(small, 3)).data).not.toEqual(
      imageTensor(picture, { ...free, height: 383, width: 383 }, preparationIn({ do_rescale: false }, 3)).data,
    );
  });

  test("EfficientNet's divides by the deviation twice, unless the top is left out", async () => {
    const white = { width: 1, height: 1, data: Uint8Array.of(255, 255, 255) };
    const file = {
      image_processor_type: "EfficientNetImageProcessor",
      image_mean: [0.485, 0.456, 0.406],
      image_std: [0.478, 0.473, 0.474],
    };
    const expected = async (json: object, of: (mean: number, std: number) => number, given = {}) => {
      const values = await seen({ ...file, ...json }, white, undefined, given);
      values.forEach((v, c) => {
        expect(v).toBeCloseTo(of(file.image_mean[c], file.image_std[c]), 5);
      });
    };
    await expected({}, (mean, std) => (1 - mean) / std / std);
    await expected({ include_top: false }, (mean, std) => (1 - mean) / std);
    await expected({ do_normalize: false }, (_, std) => 1 / std);
    await expected({ image_processor_type: "ViTImageProcessor" }, (mean, std) => (1 - mean) / std);
    // Who says what to divide by has said it all.
    await expected({}, (mean) => (1 - mean) / 0.5, { std: [0.5, 0.5, 0.5] });
  });

  test("a picture that is not to be resized has to fit the model", async () => {
    const picture = noise(9, 6);
    const file = { do_resize: false, do_normalize: false, do_rescale: false, size: { height: 4, width: 4 } };
    expect(await seen(file, picture)).toEqual([...picture.data]);
    expect(await seen(file, picture, [6, 9])).toEqual([...picture.data]);
    const refused = seen(file, picture, [4, 4]);
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow(/takes 4 x 4 pixels.*do_resize: false.*leaves 9 x 6: pass \{ size \}/);
    const whole = { x: 0, y: 0, width: 9, height: 6 };
    expect(await seen(file, picture, [4, 4], { size: [4, 4] })).toEqual([...resample(picture, whole, 4, 4)]);
    const cut = { ...file, do_center_crop: true, crop_size: { height: 4, width: 5 } };
    expect(await seen(cut, picture, [4, 5])).toHaveLength(60);
    await expect(seen(cut, picture, [5, 4])).rejects.toThrow(/leaves 5 x 4/);
  });

  test("a model of other sides than its files say sees the same part; options go before files", async () => {
    const picture = noise(16, 8);
    const middle = { width: 8, height: 8, data: new Uint8Array(192) };
    for (let y = 0; y < 8; y++) middle.data.set(picture.data.subarray((y * 16 + 4) * 3, (y * 16 + 12) * 3), y * 24);
    const file = { size: { shortest_edge: 8 }, do_normalize: false, do_rescale: false };
    const cut = { ...file, do_center_crop: true, crop_size: 8 };
    const halved = [...resample(middle, { x: 0, y: 0, width: 8, height: 8 }, 4, 4)];
    const close = (got: number[]) => {
      // At the edges of the middle the pixels beyond it count too.
      const inner = (list: number[]) => list.filter((_, i) => i % 12 > 2 && i % 12 < 9);
      expect(inner(got)).toEqual(inner(halved));
    };
    close(await seen(cut, picture, [4, 4]));
    close(await seen(file, picture, [4, 4]));
    close(await seen(cut, picture, undefined, { size: [4, 4] }));
    expect(await seen(file, picture, undefined, { size: [4, 4], crop: 1 })).toEqual(halved);
    expect(await seen({ ...file, size: { height: 3, width: 3 } }, picture, undefined, { size: [2, 2] })).toHaveLength(
      12,
    );
  });

  test("numbers that make no sense are refused", () => {
    const files = [
      { size: 0 },
      { size: 4.5 },
      { size: "224" },
      { size: { longest_edge: 4 } },
      { size: { height: 4 } },
      { size: { shortest_edge: 1e9 } },
      { size: [4, 4, 4] },
      { crop_size: -1 },
      { image_processor_type: "PerceiverImageProcessor", size: 9, crop_size: 4 },
      ...[0, 1.5, 8193, "32"].map((size_divisor) => ({
        image_processor_type: "TextNetImageProcessor",
        size: 4,
        size_divisor,
      })),
      { size: 4, crop_pct: 0, image_processor_type: "ConvNextImageProcessor" },
      { resample: 6 },
      { resample: "bicubic" },
    ];
    for (const file of files) {
      expect(() => preparationIn(file, 3), JSON.stringify(file)).toThrow(FormatError);
      expect(() => preparationIn(file, 3)).toThrow(/^preprocessor_config\.json: /);
    }
    expect(
      preparationIn({ size: null, crop_size: null, resample: null, image_mean: null, crop_pct: null }, 3),
    ).toBeDefined();
  });
});
