extern "C" __attribute__((visibility("default"))) int tw_placeholder() { return 0; }
