/** An MLP scores card payments: rows of a CSV file in, the risk of fraud out. */
import { parseCsv } from "./csv.ts";
import { modelPath, readGolden, readText } from "./golden.ts";
import { bar, ms, percent, styled, table, truth } from "./print.ts";
import { open, type Section, timed } from "./section.ts";

export const fraud: Section = {
  title: "Is this card payment fraud?",
  about: "30 numbers of a payment -> MLP -> risk",
  async run(device, check) {
    const session = await open(modelPath("fraud-mlp/model.onnx"), "fraud-mlp", device);
    const golden = [...(await readGolden("fraud-mlp")).values()];
    const { columns, rows } = parseCsv(await readText(modelPath("fraud-mlp/rows.csv")));
    // The last column says what the payment was; the model does not see it.
    const features = rows.map((row) => Float32Array.from(row.slice(0, -1)));
    const amount = columns.indexOf("Amount");
    await session.run({ features: features[0] });
    const print = table([
      { title: "payment", width: 10, right: true },
      { title: "risk", width: 6, right: true },
      { title: "", width: 16 },
      { title: "verdict", width: 8 },
      { title: "time", width: 8, right: true },
      { title: "in fact", width: 19 },
    ]);
    for (const [i, row] of rows.entries()) {
      const [{ risk }, time] = await timed(() => session.run({ features: features[i] }));
      check.compare(risk.data as Float32Array, golden[i]?.risk);
      const p = Number(risk.data[0]);
      const shown = { plain: " ".repeat(16), shown: bar(p, 16) };
      const verdict = p >= 0.5 ? "fraud" : "ok";
      const fact = row[row.length - 1] ? "fraud" : "ok";
      print(
        row[amount].toFixed(2),
        percent(p),
        shown,
        styled(p >= 0.5 ? "red" : "green", verdict),
        ms(time),
        truth(fact, fact === verdict),
      );
    }
    session.dispose();
  },
};
