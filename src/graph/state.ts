/** The state of one sequence in a session. What its rows mean, and how many are filled, is the owner's business. */
import type { DeviceState } from "../backends/backend.ts";
import { DisposedError, InputError } from "../tensor/errors.ts";

const checkRows = (rows: number): void => {
  if (!Number.isInteger(rows) || rows < 0) throw new InputError(`state: rows are a whole number from 0, got ${rows}`);
};

export class SessionState {
  private disposed = false;

  /** @param inTurn of the session that it belongs to: waits until no run is under way, as memory may move */
  constructor(
    private readonly device: DeviceState,
    private readonly inTurn: <T>(work: () => T) => Promise<T>,
  ) {}

  /** Bytes on the device. */
  get bytes(): number {
    return this.device.bytes;
  }

  /** A second sequence that begins with the same `rows` rows. @throws InputError for no number of rows; DisposedError */
  async fork(rows: number): Promise<SessionState> {
    checkRows(rows);
    return this.inTurn(() => {
      this.assertUsable();
      return new SessionState(this.device.fork(rows), this.inTurn);
    });
  }

  /**
   * Called by the session when a run begins: the states that it works on, and rows that each needs. Gives the device's.
   * @throws InputError for states that are none of the session's or there twice, and rows that are no numbers; DisposedError
   */
  static enter(
    states: readonly SessionState[],
    rows: readonly number[],
    inTurn: SessionState["inTurn"],
  ): DeviceState[] {
    if (rows.length !== states.length) throw new InputError(`run: ${rows.length} rows for ${states.length} states`);
    for (let i = 0; i < states.length; i++) {
      if (states[i]?.inTurn !== inTurn || states.indexOf(states[i]) < i)
        throw new InputError(`run: state ${i} is not from this session's openState(), or there twice`);
      states[i].assertUsable();
      checkRows(rows[i]);
    }
    const all = states.map((s, i) => {
      s.device.reserve(rows[i]);
      return s.device;
    });
    all[0].activate(all.slice(1));
    return all;
  }

  /** The same for one state, of the session that calls it. @throws DisposedError */
  enterAlone(rows: number): void {
    this.assertUsable();
    this.device.reserve(rows);
    this.device.activate();
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
