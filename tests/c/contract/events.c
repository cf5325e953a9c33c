/* When to run, and what an event may call (4 of the contract). */
#include "contract.h"

static void wakeup_rings_once_for_each_sleep(void) {
  struct account romeo;
  struct end list[3] = {0};
  omemo_op op = 0;
  start_connected(&romeo, ROMEO);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  unsigned before = romeo.wakeups;
  CHECK(encrypt(&romeo, NOBODY, on_done, &list[0], &op) == OMEMO_OK);
  CHECK(romeo.wakeups == before + 1 && omemo_manager_timeout(romeo.manager) == 0);
  CHECK(encrypt(&romeo, NOBODY, on_done, &list[1], NULL) == OMEMO_OK);
  CHECK(encrypt(&romeo, JULIET, on_done, &list[2], NULL) == OMEMO_OK);
  CHECK(romeo.wakeups == before + 1); /* it was rung already */
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(romeo.wakeups == before + 1); /* what run sees by itself needs no bell */
  before = romeo.wakeups;
  answer_all(&romeo, 0);
  CHECK(romeo.wakeups == before + 1);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(list[0].calls == 1 && list[1].calls == 1 && list[2].calls == 1);
  romeo.later = false; /* answers inside of the callback need no bell, either */
  CHECK(encrypt(&romeo, NOBODY, on_done, &list[0], NULL) == OMEMO_OK);
  before = romeo.wakeups;
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(romeo.wakeups == before && list[0].calls == 2);
  account_free(&romeo);
}

static void *answer_elsewhere(void *data) {
  struct account *account = data;
  pause_ms(30);
  answer_all(account, 0);
  return NULL;
}

static void a_blocking_program_waits(void) {
  struct account romeo;
  omemo_op op = 0;
  pthread_t thread;
  start_connected(&romeo, ROMEO);
  CHECK(encrypt(&romeo, NOBODY, NULL, NULL, &op) == OMEMO_OK);
  CHECK(take(omemo_manager_wait(romeo.manager, op, 0)) == OMEMO_ERR_PENDING);
  romeo.later = false;
  CHECK(pthread_create(&thread, NULL, answer_elsewhere, &romeo) == 0);
  CHECK(take(omemo_manager_wait(romeo.manager, op, 10000)) != OMEMO_ERR_PENDING);
  pthread_join(thread, NULL);
  account_free(&romeo);
}

static void run_stops_after_a_thousand_events(void) {
  struct account romeo;
  struct end end = {0};
  start_connected(&romeo, ROMEO);
  for (int i = 0; i < 1500; i++) {
    omemo_op op = 0;
    CHECK(encrypt(&romeo, NOBODY, on_done, &end, &op) == OMEMO_OK);
    CHECK(omemo_op_cancel(op) == OMEMO_OK);
  }
  unsigned before = romeo.wakeups;
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(end.calls == 1000 && romeo.wakeups == before + 1 && omemo_manager_timeout(romeo.manager) == 0);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(end.calls == 1500);
  account_free(&romeo);
}

static struct account *other_account;
static unsigned reentered;

static void reenter(struct account *account) {
  struct end *none = NULL;
  omemo_devices *devices = NULL;
  omemo_op op = 0;
  if (reentered++ > 0) return;
  CHECK(omemo_manager_run(account->manager) == OMEMO_ERR_BUSY);
  CHECK(take(omemo_manager_wait(account->manager, 1, -1)) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_run(other_account->manager) == OMEMO_OK);
  CHECK(encrypt(other_account, NOBODY, NULL, none, &op) == OMEMO_OK);
  CHECK(take(omemo_manager_wait(other_account->manager, op, 0)) == OMEMO_ERR_PENDING);
  CHECK(encrypt(account, NOBODY, NULL, none, &op) == OMEMO_OK && omemo_op_cancel(op) == OMEMO_OK);
  CHECK(omemo_manager_devices(account->manager, NULL, &devices) == OMEMO_OK);
  omemo_devices_free(devices);
  CHECK(omemo_manager_timeout(account->manager) >= -1);
}

static void an_event_may_call_anything(void) {
  struct account romeo, juliet;
  struct end end = {0};
  start_connected(&romeo, ROMEO);
  start_connected(&juliet, JULIET);
  other_account = &juliet;
  reentered = 0;
  end.account = &romeo;
  romeo.in_question = reenter;
  CHECK(encrypt(&romeo, NOBODY, on_done, &end, NULL) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(reentered > 0 && end.calls == 1);
  reentered = 0;
  romeo.in_question = NULL;
  end.in_done = reenter;
  CHECK(encrypt(&romeo, NOBODY, on_done, &end, NULL) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(reentered == 1 && end.calls == 2);
  account_free(&romeo);
  account_free(&juliet);
}

unsigned contract_events(void) {
  RUN(wakeup_rings_once_for_each_sleep);
  RUN(a_blocking_program_waits);
  RUN(run_stops_after_a_thousand_events);
  RUN(an_event_may_call_anything);
  server_wipe();
  return cases_failed;
}
