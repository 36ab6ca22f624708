/** The state of one sequence in a session. What its rows mean, and how many are filled, is the owner's business. */
import type { DeviceState } from "../backends/backend.ts";
import { DisposedError } from "../tensor/errors.ts";

export class SessionState {
  private disposed = false;

  /** @param inTurn waits until no run is under way: memory may move */
  constructor(
    private readonly device: DeviceState,
    private readonly inTurn: <T>(work: () => T) => Promise<T>,
  ) {}

  /** Bytes on the device. */
  get bytes(): number {
    return this.device.bytes;
  }

  /** A second sequence that begins with the same `rows` rows. */
  async fork(rows: number): Promise<SessionState> {
    return this.inTurn(() => {
      this.assertUsable();
      return new SessionState(this.device.fork(rows), this.inTurn);
    });
  }

  /** Called by the session when a run begins: the states that it works on, and rows that each needs. Gives the device's. */
  static enter(states: readonly SessionState[], rows: readonly number[]): DeviceState[] {
    states.forEach((s, i) => {
      s.assertUsable();
      s.device.reserve(rows[i] ?? 0);
    });
    const all = states.map((s) => s.device);
    all[0].activate(all.slice(1));
    return all;
  }

  /** Frees its memory, after the run that is under way. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    // A session that was disposed first took the memory with it.
    this.inTurn(() => this.device.dispose()).catch(() => {});
  }

  private assertUsable(): void {
    if (this.disposed) throw new DisposedError("this state was disposed");
  }
}
