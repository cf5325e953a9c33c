/* The smallest client: does the library it runs with answer to the header it was compiled with? */
#include <omemo.h>
#include <stdio.h>
#include <string.h>

int main(void) {
  const uint32_t wanted = OMEMO_VERSION_MAJOR * 10000 + OMEMO_VERSION_MINOR * 100 + OMEMO_VERSION_PATCH;
  if (omemo_version() != wanted) return 1;
  if (strcmp(omemo_status_name(OMEMO_ERR_STALE), "OMEMO_ERR_STALE") != 0) return 2;
  printf("libomemo %u\n", (unsigned)omemo_version());
  return 0;
}
