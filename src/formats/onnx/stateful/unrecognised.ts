/** Why a decoder is run as its graph is, with caches that grow from run to run. */
export class Unrecognised extends Error {
  override name = "Unrecognised";
}
