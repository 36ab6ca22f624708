/** Languages and tasks of Whisper: what they are called, and what a model does where the caller says neither. */
import { describe, expect, test } from "vitest";
import { languageNamed } from "../../src/tasks/speech/languages.ts";

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
