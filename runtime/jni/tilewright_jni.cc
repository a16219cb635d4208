// The native half of Tilewright.java.
#include <jni.h>

#include <vector>

#include "tilewright/tilewright.h"

namespace {

tw_session* session_of(jlong handle) { return reinterpret_cast<tw_session*>(handle); }

void raise(JNIEnv* env, const char* text) { env->ThrowNew(env->FindClass("java/lang/IllegalStateException"), text); }

// A Java string's bytes while in scope.
class Text {
 public:
  Text(JNIEnv* env, jstring text) : env_(env), text_(text), bytes_(env->GetStringUTFChars(text, nullptr)) {}
  ~Text() {
    if (bytes_) env_->ReleaseStringUTFChars(text_, bytes_);
  }
  const char* get() const { return bytes_; }

 private:
  JNIEnv* env_;
  jstring text_;
  const char* bytes_;
};

// Fills buffers from an array of direct ByteBuffers; false with an exception pending if one is not direct.
bool read_buffers(JNIEnv* env, jobjectArray array, std::vector<tw_buffer>* buffers) {
  const jsize count = env->GetArrayLength(array);
  for (jsize i = 0; i < count; ++i) {
    jobject item = env->GetObjectArrayElement(array, i);
    void* data = item ? env->GetDirectBufferAddress(item) : nullptr;
    const jlong nbytes = item ? env->GetDirectBufferCapacity(item) : -1;
    env->DeleteLocalRef(item);
    if (nbytes < 0 || (!data && nbytes > 0)) {
      raise(env, "tensors must be direct ByteBuffers");
      return false;
    }
    buffers->push_back({data, static_cast<uint64_t>(nbytes)});
  }
  return true;
}

}  // namespace

extern "C" {

JNIEXPORT jlong JNICALL Java_dev_tilewright_Tilewright_load(JNIEnv* env, jclass, jobject artifact, jstring device,
                                                            jint threads, jstring cache_dir) {
  const void* bytes = artifact ? env->GetDirectBufferAddress(artifact) : nullptr;
  if (!bytes) return raise(env, "the artifact must be a direct ByteBuffer"), 0;
  Text device_text(env, device), cache_text(env, cache_dir);
  tw_options options;
  tw_options_init(&options);
  options.device = device_text.get();
  options.threads = threads;
  options.cache_dir = cache_text.get();
  tw_session* session = nullptr;
  if (tw_load(bytes, static_cast<size_t>(env->GetDirectBufferCapacity(artifact)), &options, &session) != TW_OK)
    raise(env, tw_last_error());
  return reinterpret_cast<jlong>(session);
}

JNIEXPORT void JNICALL Java_dev_tilewright_Tilewright_run(JNIEnv* env, jclass, jlong handle, jobjectArray inputs,
                                                          jobjectArray outputs) {
  std::vector<tw_buffer> in, out;
  if (!read_buffers(env, inputs, &in) || !read_buffers(env, outputs, &out)) return;
  if (tw_run(session_of(handle), in.data(), in.size(), out.data(), out.size()) != TW_OK) raise(env, tw_last_error());
}

JNIEXPORT jlongArray JNICALL Java_dev_tilewright_Tilewright_sizes(JNIEnv* env, jclass, jlong handle, jboolean inputs) {
  const tw_session* session = session_of(handle);
  const size_t count = inputs ? tw_input_count(session) : tw_output_count(session);
  std::vector<jlong> sizes;
  for (size_t i = 0; i < count; ++i) {
    tw_tensor tensor;
    if ((inputs ? tw_input : tw_output)(session, i, &tensor) != TW_OK) return raise(env, tw_last_error()), nullptr;
    sizes.push_back(static_cast<jlong>(tensor.nbytes));
  }
  jlongArray array = env->NewLongArray(static_cast<jsize>(count));
  if (array) env->SetLongArrayRegion(array, 0, static_cast<jsize>(count), sizes.data());
  return array;
}

JNIEXPORT jstring JNICALL Java_dev_tilewright_Tilewright_device(JNIEnv* env, jclass, jlong handle) {
  return env->NewStringUTF(tw_session_device(session_of(handle)));
}

JNIEXPORT void JNICALL Java_dev_tilewright_Tilewright_free(JNIEnv*, jclass, jlong handle) {
  tw_free(session_of(handle));
}

}  // extern "C"
