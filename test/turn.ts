import { setImmediate } from "node:timers/promises";
import { beforeEach } from "vitest";

// Tests that never wait follow each other without a turn of the event loop, in which answers to vitest's worker
// would arrive: after a minute of that it reports an error, although all tests passed.
beforeEach(() => setImmediate());
