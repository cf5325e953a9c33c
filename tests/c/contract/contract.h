/* What the programs of the contract share: Romeo, his start, and how a topic runs its cases. */
#ifndef CONTRACT_H
#define CONTRACT_H

#define _POSIX_C_SOURCE 200809L
#include "../world.h"

#include <time.h>

#define ROMEO "romeo@montague.example"
#define JULIET "juliet@capulet.example"
#define NOBODY "nobody@verona.example"

static inline void start(struct account *account, const char *jid) {
  memset(account, 0, sizeof *account);
  account->jid = jid;
  account_new(account);
}

/* Romeo, connected; questions wait from now on. */
static inline void start_connected(struct account *account, const char *jid) {
  start(account, jid);
  account_connect(account);
  account->later = true;
}

static inline omemo_status take(omemo_result *result) {
  omemo_status status = omemo_result_status(result);
  CHECK(result != NULL && omemo_result_detail(result) != NULL);
  omemo_result_free(result);
  return status;
}

static inline void pause_ms(long ms) {
  struct timespec time = {ms / 1000, (ms % 1000) * 1000000};
  nanosleep(&time, NULL);
}

/* Each case has a server of its own. */
#define RUN(name)                                                                                                      \
  server_wipe();                                                                                                       \
  run_case(#name, name)

/* The topics, one a file; each runs its cases and returns how many failed. */
unsigned contract_services(void);
unsigned contract_operations(void);
unsigned contract_requests(void);
unsigned contract_events(void);
unsigned contract_freeing(void);
unsigned contract_threads(void);
unsigned contract_structures(void);
unsigned contract_storage_care(void);
unsigned contract_messages(void);
unsigned contract_own_account(void);
unsigned contract_acknowledged(void);
unsigned contract_storage(void);

#endif
