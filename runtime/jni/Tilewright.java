package dev.tilewright;

import java.nio.ByteBuffer;

/**
 * A model loaded by the Tilewright runtime. Tensors are direct ByteBuffers in native byte order, in the model's
 * order. Close a session from no thread while another uses it.
 */
public final class Tilewright implements AutoCloseable {
  static {
    System.loadLibrary("tilewright_jni");
  }

  private long session;
  private final ByteBuffer artifact; // the runtime uses its bytes in place

  /**
   * Loads an artifact.
   *
   * @param artifact a direct buffer, for example a mapped file
   * @param device part of a device's name, or "" for the first that fits
   * @param threads threads of one run on the cpu; 0 is one per core
   * @param cacheDir folder for compiled GPU programs, for example Context.getCodeCacheDir(); "" for none
   * @throws IllegalStateException with the runtime's message
   */
  public Tilewright(ByteBuffer artifact, String device, int threads, String cacheDir) {
    this.artifact = artifact;
    session = load(artifact, device, threads, cacheDir);
  }

  /** Runs the model once; every buffer must have exactly its tensor's size. */
  public void run(ByteBuffer[] inputs, ByteBuffer[] outputs) {
    run(open(), inputs, outputs);
  }

  /** Bytes of each input, in the model's order. */
  public long[] inputSizes() {
    return sizes(open(), true);
  }

  /** Bytes of each output, in the model's order. */
  public long[] outputSizes() {
    return sizes(open(), false);
  }

  /** What the session runs on. */
  public String device() {
    return device(open());
  }

  @Override
  public void close() {
    free(session);
    session = 0;
  }

  private long open() {
    if (session == 0) throw new IllegalStateException("the session is closed");
    return session;
  }

  private static native long load(ByteBuffer artifact, String device, int threads, String cacheDir);

  private static native void run(long session, ByteBuffer[] inputs, ByteBuffer[] outputs);

  private static native long[] sizes(long session, boolean inputs);

  private static native String device(long session);

  private static native void free(long session);
}
