/* One half of a program of two: the header stands before anything else, and once more. Compiled as C and as C++. */
#include <omemo.h>
#include <omemo.h>

#ifdef __cplusplus
extern "C" {
#endif
omemo_status second(omemo_callbacks *callbacks, omemo_storage_callbacks *storage);
#ifdef __cplusplus
}
#endif

int main(void) {
  omemo_callbacks callbacks;
  omemo_storage_callbacks storage;
  return second(&callbacks, &storage) == OMEMO_OK ? 0 : 1;
}
