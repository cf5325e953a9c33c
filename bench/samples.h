/* What a measurement takes: the time, and an order of samples, for their median. Needs _POSIX_C_SOURCE. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <time.h>

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

#endif
