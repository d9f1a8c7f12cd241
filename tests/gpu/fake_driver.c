/* A libcuda.so.1 that says what the environment tells it to: for tests of what a user hears without a card. */
#include <stdlib.h>

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

int cuInit(unsigned flags) { (void)flags; return number("FAKE_INIT", 0); }

int cuDriverGetVersion(int *version) { *version = number("FAKE_VERSION", 13000); return 0; }

int cuDeviceGetCount(int *count) { *count = number("FAKE_DEVICES", 1); return number("FAKE_INIT", 0); }
