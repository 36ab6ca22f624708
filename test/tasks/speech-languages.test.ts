/** Languages and tasks of Whisper: what they are called, and what a model does where the caller says neither. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ModelFolder } from "../../src/formats/folder.ts";
import { readSpeechModel } from "../../src/tasks/speech/files.ts";
import { languageNamed } from "../../src/tasks/speech/languages.ts";
import type { Listening } from "../../src/tasks/speech/model.ts";
import { type TranscribeOptions, Transcriber } from "../../src/tasks/transcription.ts";
import { FormatError, InputError } from "../../src/tensor/errors.ts";

const root = await mkdtemp(join(tmpdir(), "forwardpass-languages-"));
afterAll(() => rm(root, { recursive: true }));

describe("names of languages", () => {
  /** Of OpenAI's table, in its order, with the names that it takes beside them. */
  const table =
    "en:english zh:chinese de:german es:spanish ru:russian ko:korean fr:french ja:japanese pt:portuguese tr:turkish pl:polish " +
    "ca:catalan nl:dutch ar:arabic sv:swedish it:italian id:indonesian hi:hindi fi:finnish vi:vietnamese he:hebrew uk:ukrainian " +
    "el:greek ms:malay cs:czech ro:romanian da:danish hu:hungarian ta:tamil no:norwegian th:thai ur:urdu hr:croatian " +
    "bg:bulgarian lt:lithuanian la:latin mi:maori ml:malayalam cy:welsh sk:slovak te:telugu fa:persian lv:latvian bn:bengali " +
    "sr:serbian az:azerbaijani sl:slovenian kn:kannada et:estonian mk:macedonian br:breton eu:basque is:icelandic hy:armenian " +
    "ne:nepali mn:mongolian bs:bosnian kk:kazakh sq:albanian sw:swahili gl:galician mr:marathi pa:punjabi si:sinhala km:khmer " +
    "sn:shona yo:yoruba so:somali af:afrikaans oc:occitan ka:georgian be:belarusian tg:tajik sd:sindhi gu:gujarati am:amharic " +
    "yi:yiddish lo:lao uz:uzbek fo:faroese ht:haitian_creole ps:pashto tk:turkmen nn:nynorsk mt:maltese sa:sanskrit " +
    "lb:luxembourgish my:myanmar bo:tibetan tl:tagalog mg:malagasy as:assamese tt:tatar haw:hawaiian ln:lingala ha:hausa " +
    "ba:bashkir jw:javanese su:sundanese yue:cantonese my:burmese ca:valencian nl:flemish ht:haitian lb:letzeburgesch ps:pushto " +
    "pa:panjabi ro:moldavian ro:moldovan si:sinhalese es:castilian zh:mandarin";
  const entries = table.split(" ").map((e) => e.replace("_", " ").split(":") as [string, string]);
  const codes = [...new Set(entries.map(([code]) => code))];

  test("all that Whisper takes", () => {
    expect(codes).toHaveLength(100);
    for (const [code, name] of entries)
      for (const asked of [code, name, name.toUpperCase()])
        expect([asked, languageNamed(asked, codes)]).toEqual([asked, code]);
  });

  test("those of today's standards, only of what the model has, and none that are no names", () => {
    for (const [name, code] of Object.entries({ Bangla: "bn", Filipino: "tl", Burmese: "my", Māori: "mi", jv: "jw" }))
      expect(languageNamed(name, codes)).toBe(code);
    expect(languageNamed("Flemish", ["en", "de"])).toBeUndefined();
    for (const name of ["Klingon", "", "constructor"]) expect(languageNamed(name, codes)).toBeUndefined();
  });
});

describe("what files say", () => {
  const names = "endoftext startoftranscript en de my jw translate transcribe nospeech notimestamps".split(" ");
  const [end, start, en, de, my, , translate, transcribe, , noTimestamps] = names.map((_, i) => i + 1);
  const tokenizer = {
    added_tokens: names.map((name, i) => ({ id: i + 1, content: `<|${name}|>`, special: true, normalized: false })),
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: { type: "BPE", vocab: { a: 0 }, merges: [] },
  };
  const put = (name: string, json: object): Promise<void> => writeFile(join(root, name), JSON.stringify(json));

  /** A model that hears German and says nothing, of a folder with these settings. */
  async function modelOf(generation: object | undefined, config: object = {}) {
    await put("config.json", { model_type: "whisper", ...config });
    await put("tokenizer.json", tokenizer);
    if (generation) await put("generation_config.json", generation);
    else await rm(join(root, "generation_config.json"), { force: true });
    const file = await readSpeechModel(await ModelFolder.open(join(root, "config.json")));
    const prompt: number[] = [];
    const listening: Listening = {
      async feed(tokens) {
        prompt.push(...tokens);
        const logits = new Float32Array(names.length + 1).fill(-20);
        logits[prompt.length > 1 ? end : de] = 5;
        return logits;
      },
      restart: () => prompt.splice(0),
      dispose() {},
    };
    const spectrogram = { run: async () => ({ mel: { shape: [1, 1] } }) };
    const model = new Transcriber(file, { listen: async () => listening } as never, spectrogram as never);
    /** The tokens that the text begins with, and the language that is told. */
    return async (options?: TranscribeOptions) => {
      const { language } = await model.transcribe(new Float32Array(16000).fill(0.5), options);
      return [...prompt, language];
    };
  }
  const begun = (language: number, task: number, code: string) => [start, language, task, noTimestamps, code];

  test("hold where the caller does not say, and what is heard where neither does", async () => {
    for (const none of [undefined, {}, { language: null, task: null, forced_decoder_ids: null }])
      expect(await (await modelOf(none))()).toEqual(begun(de, transcribe, "de"));
    for (const language of ["<|my|>", "my", "Burmese", "myanmar"]) {
      const asked = await modelOf({ language, task: "translate" });
      expect(await asked()).toEqual(begun(my, translate, "my"));
      expect(await asked({ language: "English" })).toEqual(begun(en, translate, "en"));
      expect(await asked({ task: "transcribe" })).toEqual(begun(my, transcribe, "my"));
      expect(await asked({ language: "Myanmar", task: "transcribe" })).toEqual(begun(my, transcribe, "my"));
    }
    expect(await (await modelOf({ language: "en" }))()).toEqual(begun(en, transcribe, "en"));
    expect(await (await modelOf({ task: "translate" }))()).toEqual(begun(de, translate, "de"));
  });

  test("the tokens that older files force hold where neither is said", async () => {
    const forced_decoder_ids = [
      [1, en],
      [2, translate],
      [3, noTimestamps],
    ];
    for (const files of [[{ forced_decoder_ids }], [{}, { forced_decoder_ids }], [undefined, { forced_decoder_ids }]]) {
      const old = await modelOf(...(files as [object]));
      expect(await old()).toEqual(begun(en, translate, "en"));
      expect(await old({ language: "my" })).toEqual(begun(my, transcribe, "my"));
      expect(await old({ task: "transcribe" })).toEqual(begun(de, transcribe, "de"));
    }
    expect(await (await modelOf({ language: "my", forced_decoder_ids }))()).toEqual(begun(my, transcribe, "my"));
    const heard = [[1, null], ...forced_decoder_ids.slice(1)];
    expect(await (await modelOf({ forced_decoder_ids: heard }, { forced_decoder_ids }))()).toEqual(
      begun(de, translate, "de"),
    );
  });

  test("what the model does not know is told with the name of the file", async () => {
    const told = async (generation: object, message: RegExp, config?: object) => {
      const opened = modelOf(generation, config);
      await expect(opened).rejects.toThrow(FormatError);
      await expect(opened).rejects.toThrow(message);
    };
    for (const language of ["fr", "Klingon", 5])
      await told(
        { language },
        /config\.json: language in generation_config\.json is .* languages, or null: de en jw my$/,
      );
    await told({ task: "sing" }, /task in generation_config\.json is "sing".* set it to "transcribe" or "translate"$/);
    await told(
      { forced_decoder_ids: [[1, 0]] },
      /forced_decoder_ids in generation_config\.json: the token 0 is no language/,
    );
    await told({}, /forced_decoder_ids in config\.json: the token "en"/, { forced_decoder_ids: [[1, "en"]] });
  });

  test("of English alone", async () => {
    const alone = await modelOf({ is_multilingual: false, language: "en", forced_decoder_ids: [[1, noTimestamps]] });
    expect(await alone()).toEqual([start, noTimestamps, undefined]);
    await expect(alone({ language: "de" })).rejects.toThrow(InputError);
    expect(await (await modelOf({ is_multilingual: false, forced_decoder_ids: [[1, 0]] }))()).toEqual([
      start,
      noTimestamps,
      undefined,
    ]);
    await expect(modelOf({ is_multilingual: false, language: "de" })).rejects.toThrow(/languages, or null: en$/);
  });
});
