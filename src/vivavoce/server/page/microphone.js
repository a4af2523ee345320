/** The microphone as blocks of 40 ms, captured in an AudioWorklet. */

export class Microphone {
  #stream = null;
  #context = null;

  /** Ask for it; `heard(samples)` gets each block, `lost()` is called when it goes away. Rate: `sampleRate`, in Hz. */
  async open(heard, lost) {
    if (!navigator.mediaDevices) throw new Error("A browser gives the microphone to pages of https and of localhost only");
    const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: false, autoGainControl: true };
    this.#stream = await navigator.mediaDevices.getUserMedia({ audio });
    this.#stream.getAudioTracks()[0].addEventListener("ended", lost);
    this.#context = new AudioContext();
    this.sampleRate = this.#context.sampleRate;
    await this.#context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url));
    const capture = new AudioWorkletNode(this.#context, "capture", { numberOfOutputs: 1 });
    capture.port.onmessage = ({ data }) => heard(data);
    this.#context.createMediaStreamSource(this.#stream).connect(capture);
    capture.connect(this.#context.destination); // it is silent, but what leads nowhere is not run
    await this.#context.resume();
  }

  close() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#context?.close();
    [this.#stream, this.#context] = [null, null];
  }
}
