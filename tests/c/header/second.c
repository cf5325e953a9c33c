/* The other half of the program: nothing in the header is defined twice when both halves include it. */
#include <stdlib.h>
#include <string.h>
#include <omemo.h>

#ifdef __cplusplus
extern "C" {
#endif
omemo_status second(omemo_callbacks *callbacks, omemo_storage_callbacks *storage);
#ifdef __cplusplus
}
#endif

omemo_status second(omemo_callbacks *callbacks, omemo_storage_callbacks *storage) {
  memset(callbacks, 0, sizeof *callbacks);
  memset(storage, 0, sizeof *storage);
  callbacks->struct_size = sizeof *callbacks;
  storage->struct_size = sizeof *storage;
  return storage->struct_size > callbacks->struct_size ? OMEMO_ERR_INTERNAL : OMEMO_OK;
}
