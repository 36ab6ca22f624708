import { expect, test } from "vitest";
import { add, bernoulli, mul, tensor } from "../../src/index.ts";

test("a random tensor has one value, whatever is made of it and when", async () => {
  const d = bernoulli(tensor(new Float32Array(64).fill(0.5)), { dtype: "f32" });
  const before = add(d, tensor([0]));
  const [a, both] = await Promise.all([before.data(), add(d, before).data()]);
  expect(await d.data()).toEqual(a);
  expect(await mul(d, tensor([2])).data()).toEqual(both);
  const other = bernoulli(tensor(new Float32Array(64).fill(0.5)), { dtype: "f32" });
  expect(await other.data()).not.toEqual(a);
});
