/**
 * npm run demo [-- --device cpu|wasm]: trained models of seven kinds at work. Exits with 1 where a prediction differs from
 * what the framework that trained the model gave.
 */
import { parseArgs } from "node:util";
import { type DeviceName, ForwardpassError } from "../../src/index.ts";
import { digits } from "./digits.ts";
import { fraud } from "./fraud.ts";
import { meaning } from "./meaning.ts";
import { photos } from "./photos.ts";
import { ms, say, style } from "./print.ts";
import { runSection } from "./section.ts";
import { spam } from "./spam.ts";
import { speech } from "./speech.ts";
import { story } from "./story.ts";

const device = deviceOnLine();
const before = performance.now();
say(`${style("bold", "forwardpass")} on ${device}, Node ${process.versions.node}`);
let passed = true;
try {
  for (const section of [fraud, digits, photos, spam, speech, story, meaning])
    passed = (await runSection(section, device)) && passed;
  say();
  const verdict = passed ? style("green", "All predictions as expected") : style("red", "Some predictions are wrong");
  say(`${verdict}; everything took ${ms(performance.now() - before)}.`);
} catch (e) {
  // What the engine refuses (an unknown device, say) it explains itself.
  if (!(e instanceof ForwardpassError)) throw e;
  say(style("red", `${e.name}: ${e.message}`));
  passed = false;
}
process.exitCode = passed ? 0 : 1;

function deviceOnLine(): DeviceName {
  try {
    const options = { device: { type: "string", default: "wasm" } } as const;
    return parseArgs({ options }).values.device as DeviceName;
  } catch (e) {
    // Its first sentence; what follows is about an unusual way out.
    console.error(`demo: ${(e as Error).message.split(". ")[0]}\nUsage: npm run demo [-- --device cpu|wasm]`);
    process.exit(2);
  }
}
