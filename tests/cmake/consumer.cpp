// The same as consumer.c, for C++.
#include <omemo.h>
#include <cstring>

int main() {
  return omemo_version() != 0 && std::strcmp(omemo_status_name(OMEMO_OK), "OMEMO_OK") == 0 ? 0 : 1;
}
