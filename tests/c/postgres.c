/* Accounts in PostgreSQL by examples-c/postgres_store.c, against a server that scripts/suites/postgres.sh has started:
 *
 *   postgres games CONNINFO              one process
 *   postgres control CONNINFO            what must fail with a store without locks
 *   postgres fleets CONNINFO DIR SEED    two processes; journals are written to DIR
 *   postgres measure CONNINFO COUNT      memory and time for each account
 */
#define _DEFAULT_SOURCE
#include "postgres/games.h"
#include <malloc.h>
#include <sys/prctl.h>

static long resident_kb(void) {
  char line[200];
  long kb = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file)) sscanf(line, "VmRSS: %ld", &kb);
  if (file) fclose(file);
  return kb;
}

static void show(const char *what, double from, long kb, size_t count) {
  printf("# %s: %.2f ms and %.1f kB for each of %lu accounts\n", what, (seconds() - from) * 1000 / (double)count,
         (double)(resident_kb() - kb) / (double)count, (unsigned long)count);
}

/* Makes the accounts, closes them, opens them again as after a restart, and writes a message from each. */
static int measure(size_t count) {
  struct member *members = need(calloc(count, sizeof *members));
  postgres_pool *pool = NULL;
  if (pool_as(conninfo, "measure", "", &pool) != OMEMO_OK) return 1;
  for (int round = 0; round < 2; round++) {
    const char *when = round == 0 ? "new" : "opened again";
    char what[64];
    malloc_trim(0); /* what the round before has freed */
    long kb = resident_kb();
    double from = seconds();
    for (size_t i = 0; i < count; i++) {
      char name[64];
      member_name(name, sizeof name, 'x', i);
      member_init(&members[i], name, &members[i ^ 1]);
      CHECK(member_open(&members[i], pool) == OMEMO_OK);
    }
    snprintf(what, sizeof what, "%s: open", when);
    show(what, from, kb, count);
    from = seconds(), kb = resident_kb();
    for (size_t i = 0; i < count; i++) account_connect(&members[i].account);
    snprintf(what, sizeof what, "%s: connect", when);
    show(what, from, kb, count);
    from = seconds(), kb = resident_kb();
    for (size_t i = 0; i < count; i++) {
      CHECK(say(&members[i]) == OMEMO_OK);
      while (waiting.count > 0) deliver_one(members, count, 0);
    }
    snprintf(what, sizeof what, "%s: one message, sent and read", when);
    show(what, from, kb, count);
    printf("# %s: %ld kB in all\n", when, resident_kb());
    for (size_t i = 0; i < count; i++) member_close(&members[i]);
  }
  postgres_pool_close(pool);
  post_free(&silent);
  server_wipe();
  free(members);
  printf("%s measure\n", case_failed ? "not ok" : "ok");
  return case_failed;
}

int main(int argc, char **argv) {
  const char *mode = argc > 2 ? argv[1] : "";
  conninfo = argc > 2 ? argv[2] : "";
  /* If the suite is killed, this goes with it, lest it write to the server of the next run. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  directory = argc > 3 ? argv[3] : "";
  if (strcmp(mode, "fleet") == 0 && argc == 6) return fleet_child(argv[4][0], (unsigned)strtoul(argv[5], NULL, 10));
  if (strcmp(mode, "fleets") == 0 && argc == 5) return both_fleets(argv[0], (unsigned)strtoul(argv[4], NULL, 10));
  if (strcmp(mode, "measure") == 0 && argc == 4) return measure((size_t)strtoul(argv[3], NULL, 10));
  if (strcmp(mode, "games") == 0) {
    run_case("one_user_at_a_time", one_user_at_a_time);
    run_case("a_zombie_never_commits", a_zombie_never_commits);
    run_case("a_commit_whose_end_nobody_saw", a_commit_whose_end_nobody_saw);
    run_case("a_commit_that_fails_changes_nothing", a_commit_that_fails_changes_nothing);
    run_case("what_cannot_be_trusted_is_refused", what_cannot_be_trusted_is_refused);
    run_case("a_large_commit", a_large_commit);
  } else if (strcmp(mode, "control") != 0) {
    fprintf(stderr, "usage: see the head of postgres.c\n");
    return 2;
  }
  run_case("two_writers_use_no_key_twice", two_writers_use_no_key_twice);
  return cases_failed > 0;
}
