/* Cases of a test program: CHECK notes a failure and goes on, run_case prints "ok NAME" or "not ok NAME". */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdio.h>

static bool case_failed;
static unsigned cases_failed;

static bool check(bool holds, const char *text, const char *file, int line) {
  if (!holds) {
    printf("# %s:%d: %s does not hold\n", file, line, text);
    case_failed = true;
  }
  return holds;
}

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)

static void run_case(const char *name, void (*body)(void)) {
  case_failed = false;
  body();
  printf("%s %s\n", case_failed ? "not ok" : "ok", name);
  fflush(stdout);
  if (case_failed) cases_failed++;
}

#endif
