import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/gpu/setup.ts",
    setupFiles: "test/turn.ts",
    // Left to itself it leaves one core idle: of two, half.
    maxWorkers: "100%",
    // Generous: shared machines stall. What hangs still fails.
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
