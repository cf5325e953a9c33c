/* What cancelling and freeing end (5 and 6 of the contract). */
#include "contract.h"

static void cancel_takes_note(void) {
  struct account romeo;
  struct end first = {0}, second = {0};
  omemo_op one = 0, two = 0;
  start_connected(&romeo, ROMEO);
  CHECK(omemo_op_cancel(0) == OMEMO_ERR_STALE && omemo_op_cancel(UINT64_MAX) == OMEMO_ERR_STALE);
  CHECK(encrypt(&romeo, NOBODY, on_done, &first, &one) == OMEMO_OK);
  CHECK(omemo_manager_refresh_devices(romeo.manager, NOBODY, NULL, on_done, &second, &two) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(romeo.open_count == 1);
  omemo_request request = romeo.open_count ? romeo.open[0].request : 0;
  CHECK(omemo_op_cancel(one) == OMEMO_OK && omemo_op_cancel(one) == OMEMO_ERR_STALE);
  CHECK(first.calls == 0);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(first.calls == 1 && first.status == OMEMO_ERR_CANCELLED);
  CHECK(romeo.withdrawn == 0); /* the other one needs the answer still */
  CHECK(omemo_op_cancel(two) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(second.calls == 1 && romeo.withdrawn == 1 && romeo.last_withdrawn == request);
  account_free(&romeo);
  CHECK(omemo_op_cancel(two) == OMEMO_ERR_STALE);
}

/* -- 6: free -- */

static void free_ends_everything(void) {
  struct store store = {0};
  struct account romeo = {0};
  struct end list[4] = {0};
  omemo_op op = 0, kept = 0;
  omemo_manager_free(NULL);
  store.account = &romeo;
  romeo.jid = ROMEO;
  romeo.storage = store_open(&store);
  account_new(&romeo);
  account_connect(&romeo);
  romeo.later = true;
  omemo_storage_free(romeo.storage);
  CHECK(store.destroyed == 0);
  for (size_t i = 0; i < 4; i++) CHECK(encrypt(&romeo, i % 2 ? NOBODY : JULIET, on_done, &list[i], &op) == OMEMO_OK);
  CHECK(encrypt(&romeo, NOBODY, NULL, NULL, &kept) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(romeo.open_count == 2);
  omemo_request request = romeo.open_count ? romeo.open[0].request : 0;
  account_free(&romeo);
  CHECK(romeo.withdrawn == 2 && store.destroyed == 1);
  for (size_t i = 0; i < 4; i++) CHECK(list[i].calls == 1 && list[i].status == OMEMO_ERR_CANCELLED);
  CHECK(omemo_op_cancel(op) == OMEMO_ERR_STALE && omemo_op_cancel(kept) == OMEMO_ERR_STALE);
  CHECK(omemo_request_resolve(request) == OMEMO_ERR_STALE);
  CHECK(omemo_request_reject(request, OMEMO_REJECT_FAILED) == OMEMO_ERR_STALE);
  CHECK(omemo_manager_run(NULL) == OMEMO_ERR_NULL && omemo_manager_timeout(NULL) == -1);
  store_wipe(&store);
}

static struct store *closed_store;

static void check_closed(struct account *account) {
  CHECK(closed_store->destroyed == 1); /* the store is closed before destroy runs */
  CHECK(account->destroyed == 1);
}

static void destroy_is_last(void) {
  struct store store = {0};
  struct account romeo = {0};
  store.account = &romeo;
  closed_store = &store;
  romeo.jid = ROMEO;
  romeo.storage = store_open(&store);
  romeo.in_destroy = check_closed;
  omemo_config *config = account_config(&romeo);
  omemo_storage_free(romeo.storage);
  CHECK(omemo_manager_new(config, &romeo.manager) == OMEMO_OK);
  omemo_manager *manager = romeo.manager;
  omemo_config_free(config);
  CHECK(romeo.destroyed == 0 && store.destroyed == 0);
  omemo_manager_free(manager);
  CHECK(romeo.destroyed == 1);
  store_wipe(&store);
  /* Without a manager the configuration is the last user of the table. */
  memset(&romeo, 0, sizeof romeo);
  romeo.jid = ROMEO;
  config = account_config(&romeo);
  CHECK(romeo.destroyed == 0);
  omemo_config_free(config);
  CHECK(romeo.destroyed == 1);
}

static unsigned freed_inside;

static void free_inside(struct account *account) {
  struct end none = {0};
  omemo_op op = 0;
  omemo_manager *manager = account->manager;
  omemo_decrypted *decrypted = NULL;
  if (freed_inside++ > 0) return;
  omemo_manager_free(manager);
  omemo_manager_free(manager); /* it is marked already */
  CHECK(account->destroyed == 0);
  CHECK(encrypt(account, NOBODY, on_done, &none, &op) == OMEMO_ERR_CANCELLED && op == 0);
  CHECK(omemo_manager_connected(manager, OMEMO_CATCH_UP_NONE, on_done, &none, &op) == OMEMO_ERR_CANCELLED);
  CHECK(omemo_manager_decrypt_xml(manager, NOBODY, NULL, "<", 1, &decrypted) == OMEMO_ERR_CANCELLED);
  CHECK(omemo_manager_disconnected(manager) == OMEMO_ERR_CANCELLED);
  CHECK(take(omemo_manager_wait(manager, 1, -1)) == OMEMO_ERR_CANCELLED);
  for (size_t i = 0; i < account->open_count; i++)
    CHECK(omemo_request_reject(account->open[i].request, OMEMO_REJECT_FAILED) == OMEMO_ERR_STALE);
  CHECK(none.calls == 0 && !decrypted);
}

static void free_inside_an_event_waits_for_run(void) {
  for (int where = 0; where < 4; where++) {
    struct account romeo;
    struct end list[3] = {0};
    omemo_op op = 0;
    start_connected(&romeo, ROMEO);
    freed_inside = 0;
    list[0].account = &romeo;
    if (where % 2 == 0) romeo.in_question = free_inside;
    else list[0].in_done = free_inside;
    CHECK(encrypt(&romeo, JULIET, on_done, &list[1], NULL) == OMEMO_OK);
    CHECK(encrypt(&romeo, NOBODY, on_done, &list[0], &op) == OMEMO_OK);
    CHECK(encrypt(&romeo, JULIET, on_done, &list[2], NULL) == OMEMO_OK);
    if (where % 2 == 1) CHECK(omemo_op_cancel(op) == OMEMO_OK);
    if (where < 2) CHECK(omemo_manager_run(romeo.manager) == OMEMO_ERR_CANCELLED);
    else CHECK(take(omemo_manager_wait(romeo.manager, list[2].op ? list[2].op : op, -1)) == OMEMO_ERR_CANCELLED);
    CHECK(freed_inside > 0 && romeo.destroyed == 1);
    for (size_t i = 0; i < 3; i++) CHECK(list[i].calls == 1 && list[i].status == OMEMO_ERR_CANCELLED);
    forget_open(&romeo);
  }
}

static pthread_t runner;

static void free_from_another_thread(struct account *account) {
  /* We are in run, in a thread of its own: the main thread frees the manager meanwhile. */
  runner = pthread_self();
  pthread_mutex_lock(&world);
  account->clock = true; /* "I am in it" */
  pthread_mutex_unlock(&world);
  pause_ms(100);
  CHECK(account->destroyed == 0);
}

static void *run_it(void *data) {
  struct account *account = data;
  CHECK(omemo_manager_run(account->manager) == OMEMO_ERR_CANCELLED);
  return NULL;
}

static pthread_t destroyer;

static void note_destroyer(struct account *account) {
  (void)account;
  destroyer = pthread_self();
}

static void free_never_waits(void) {
  struct account romeo;
  struct end end = {0};
  pthread_t thread;
  bool inside = false;
  start_connected(&romeo, ROMEO);
  romeo.in_question = free_from_another_thread;
  romeo.in_destroy = note_destroyer;
  CHECK(encrypt(&romeo, NOBODY, on_done, &end, NULL) == OMEMO_OK);
  CHECK(pthread_create(&thread, NULL, run_it, &romeo) == 0);
  while (!inside) {
    pause_ms(1);
    pthread_mutex_lock(&world);
    inside = romeo.clock;
    pthread_mutex_unlock(&world);
  }
  omemo_manager_free(romeo.manager);
  CHECK(end.calls == 0); /* it came back at once */
  pthread_join(thread, NULL);
  CHECK(romeo.destroyed == 1 && end.calls == 1 && pthread_equal(destroyer, runner));
  forget_open(&romeo);
}

static void *wait_for_it(void *data) {
  struct end *end = data;
  CHECK(take(omemo_manager_wait(end->account->manager, end->op, -1)) == OMEMO_ERR_CANCELLED);
  return NULL;
}

static void free_ends_those_who_wait(void) {
  struct account romeo;
  struct end end = {0};
  pthread_t thread;
  start_connected(&romeo, ROMEO);
  end.account = &romeo;
  CHECK(encrypt(&romeo, NOBODY, NULL, NULL, &end.op) == OMEMO_OK);
  CHECK(pthread_create(&thread, NULL, wait_for_it, &end) == 0);
  pause_ms(50);
  omemo_manager_free(romeo.manager);
  pthread_join(thread, NULL);
  CHECK(romeo.destroyed == 1);
  forget_open(&romeo);
}

unsigned contract_freeing(void) {
  RUN(cancel_takes_note);
  RUN(free_ends_everything);
  RUN(destroy_is_last);
  RUN(free_inside_an_event_waits_for_run);
  RUN(free_never_waits);
  RUN(free_ends_those_who_wait);
  server_wipe();
  return cases_failed;
}
