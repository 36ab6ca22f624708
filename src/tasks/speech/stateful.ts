/** A decoder of Whisper whose keys and values are state. */
import type { Session } from "../../graph/session.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import type { Listening } from "./model.ts";

/** What a run takes beside `hidden`, and the rows that its longest cache needs. */
export type TokenInputs = (
  token: number,
  position: number,
  frames: number,
) => { inputs: Record<string, Int32Array>; rows: number };

export class StatefulListening implements Listening {
  private position = 0;
  private readonly state;
  private readonly frames: number;

  /** @param hidden f32 [1, frames, width], what the encoder gave */
  constructor(
    private readonly decoder: Session,
    private hidden: HostTensor,
    private readonly inputsFor: TokenInputs,
  ) {
    this.frames = hidden.shape[1];
    this.state = decoder.openState();
  }

  async feed(tokens: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    let last = new Float32Array(0);
    for (const token of tokens) {
      const { inputs, rows } = this.inputsFor(token, this.position, this.frames);
      // A token is too short to be stopped half way, but for the first: the plain run is faster.
      const stop = this.hidden.shape[1] > 0 || tokens.length > 1 ? signal : undefined;
      const { logits } = await this.decoder.run(
        { ...inputs, hidden: this.hidden },
        { state: this.state, rows, signal: stop },
      );
      this.position++;
      last = logits.data as Float32Array<ArrayBuffer>;
      // Keys and values of the sound are kept from here on.
      this.hidden = { ...this.hidden, shape: [1, 0, this.hidden.shape[2]], data: new Float32Array(0) };
    }
    return last;
  }

  restart(): void {
    this.position = 0;
  }

  dispose(): void {
    this.state.dispose();
  }
}
