/* Each operation ends exactly once (2 of the contract). */
#include "contract.h"

static void one_end_each(void) {
  for (unsigned order = 0; order < 6; order++) {
    struct account romeo;
    struct end list[20];
    memset(list, 0, sizeof list);
    start_connected(&romeo, ROMEO);
    romeo.later = order > 0;
    for (size_t i = 0; i < 20; i++) {
      char jid[64];
      omemo_op op = 0;
      snprintf(jid, sizeof jid, "m%u@verona.example", (unsigned)(i % 7));
      CHECK(encrypt(&romeo, jid, on_done, &list[i], i % 2 ? &op : NULL) == OMEMO_OK);
      CHECK(list[i].calls == 0 && (op != 0) == (i % 2 == 1)); /* never before the start returned */
      if (i % 10 == 1) CHECK(omemo_op_cancel(op) == OMEMO_OK);
    }
    settle(&romeo, order);
    for (size_t i = 0; i < 20; i++) {
      CHECK(list[i].calls == 1);
      CHECK((list[i].status == OMEMO_ERR_CANCELLED) == (i % 10 == 1));
      CHECK(omemo_op_cancel(list[i].op) == OMEMO_ERR_STALE);
    }
    account_free(&romeo);
    for (size_t i = 0; i < 20; i++) {
      CHECK(list[i].calls == 1);
      free(list[i].xml);
    }
  }
}

static void a_failed_start_has_no_end(void) {
  struct account romeo;
  struct end end = {0};
  omemo_op op = 77;
  start_connected(&romeo, ROMEO);
  omemo_draft *broken = draft_to(NOBODY, "text");
  CHECK(omemo_draft_add_recipient(broken, "no/jid") == OMEMO_ERR_JID);
  CHECK(omemo_draft_set_policy(broken, 99) == OMEMO_ERR_ARGUMENT); /* the first failure is kept */
  CHECK(omemo_manager_encrypt(romeo.manager, broken, on_done, &end, &op) == OMEMO_ERR_JID);
  CHECK(omemo_manager_encrypt(romeo.manager, NULL, on_done, &end, &op) == OMEMO_ERR_NULL);
  CHECK(omemo_manager_connected(romeo.manager, 2, on_done, &end, &op) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_manager_catch_up_begin(NULL) == OMEMO_ERR_NULL);
  CHECK(omemo_manager_catch_up_end(NULL, on_done, &end, &op) == OMEMO_ERR_NULL);
  CHECK(omemo_manager_refresh_devices(romeo.manager, "a/b", NULL, on_done, &end, &op) == OMEMO_ERR_JID);
  CHECK(omemo_manager_refresh_devices(romeo.manager, NULL, "urn:x", on_done, &end, &op) == OMEMO_ERR_UNKNOWN_NAMESPACE);
  CHECK(omemo_manager_replace_sessions(romeo.manager, "a/b", 0, on_done, &end, &op) == OMEMO_ERR_JID);
  CHECK(omemo_manager_replace_sessions(romeo.manager, NULL, 5, on_done, &end, &op) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_manager_replace_sessions(romeo.manager, JULIET, 0x80000000u, on_done, &end, &op) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_manager_replace_sessions(NULL, JULIET, 0, on_done, &end, &op) == OMEMO_ERR_NULL);
  CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK);
  CHECK(omemo_manager_refresh_devices(romeo.manager, NULL, NULL, on_done, &end, &op) == OMEMO_ERR_OFFLINE);
  CHECK(omemo_manager_replace_sessions(romeo.manager, NULL, 0, on_done, &end, &op) == OMEMO_ERR_OFFLINE);
  CHECK(omemo_manager_catch_up_end(romeo.manager, on_done, &end, &op) == OMEMO_ERR_OFFLINE);
  CHECK(omemo_manager_catch_up_begin(romeo.manager) == OMEMO_OK);
  omemo_draft_free(broken);
  settle(&romeo, 0);
  account_free(&romeo);
  CHECK(end.calls == 0 && op == 77);
}

/* What is stored of a JID is listed and forgotten at once, and nothing of the account itself. */
static void jids_are_listed_and_purged(void) {
  struct account romeo = {0};
  omemo_result *jids = NULL;
  start_connected(&romeo, ROMEO);
  CHECK(omemo_manager_jids(NULL, &jids) == OMEMO_ERR_NULL);
  CHECK(omemo_manager_jids(romeo.manager, NULL) == OMEMO_ERR_NULL);
  CHECK(omemo_manager_jids(romeo.manager, &jids) == OMEMO_OK);
  size_t before = omemo_result_row_count(jids);
  omemo_result_free(jids);
  omemo_device_list *list = omemo_device_list_new(OMEMO_NS_2);
  CHECK(omemo_device_list_add(list, 7, NULL, NULL) == OMEMO_OK);
  CHECK(omemo_manager_update_device_list(romeo.manager, JULIET, list) == OMEMO_OK);
  omemo_device_list_free(list);
  CHECK(omemo_manager_jids(romeo.manager, &jids) == OMEMO_OK);
  CHECK(omemo_result_row_count(jids) == before + 1);
  int found = 0;
  for (size_t i = 0; i < omemo_result_row_count(jids); i++) {
    found += strcmp(omemo_result_row_jid(jids, i), JULIET) == 0;
    CHECK(omemo_result_row_status(jids, i) == OMEMO_OK);
  }
  CHECK(found == 1);
  omemo_result_free(jids);
  CHECK(omemo_manager_purge_jid(NULL, JULIET, false) == OMEMO_ERR_NULL);
  CHECK(omemo_manager_purge_jid(romeo.manager, NULL, false) == OMEMO_ERR_NULL);
  CHECK(omemo_manager_purge_jid(romeo.manager, "a/b", false) == OMEMO_ERR_JID);
  CHECK(omemo_manager_purge_jid(romeo.manager, ROMEO, false) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_manager_purge_jid(romeo.manager, NOBODY, true) == OMEMO_OK);
  CHECK(omemo_manager_purge_jid(romeo.manager, JULIET, false) == OMEMO_OK);
  CHECK(omemo_manager_jids(romeo.manager, &jids) == OMEMO_OK);
  CHECK(omemo_result_row_count(jids) == before);
  omemo_result_free(jids);
  account_free(&romeo);
}

/* The device id is chosen by the first connected, and lives in the store from then on. */
static void nothing_goes_out_before_the_first_connected(void) {
  struct store store = {0};
  struct account romeo = {0};
  struct end end = {0};
  omemo_op op = 77;
  store.account = &romeo;
  romeo.jid = ROMEO;
  romeo.storage = store_open(&store);
  account_new(&romeo);
  omemo_message *message = omemo_message_new(OMEMO_NS_2, 7);
  omemo_decrypted *decrypted = NULL;
  CHECK(encrypt(&romeo, NOBODY, on_done, &end, &op) == OMEMO_ERR_NOT_READY);
  CHECK(omemo_manager_decrypt(romeo.manager, NOBODY, NULL, message, &decrypted) == OMEMO_ERR_NOT_READY);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(end.calls == 0 && op == 77 && decrypted == NULL && romeo.asked == 0);
  account_connect(&romeo);
  account_free(&romeo);
  romeo.later = false;
  account_new(&romeo);
  CHECK(omemo_manager_decrypt(romeo.manager, NOBODY, NULL, message, &decrypted) == OMEMO_OK);
  CHECK(omemo_decrypted_status(decrypted) == OMEMO_ERR_NOT_FOR_US);
  CHECK(encrypt(&romeo, NOBODY, on_done, &end, NULL) == OMEMO_OK); /* waits for the stream */
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(end.calls == 0);
  account_connect(&romeo);
  CHECK(end.calls == 1 && end.status == OMEMO_ERR_NO_ELIGIBLE_DEVICES);
  omemo_decrypted_free(decrypted);
  omemo_message_free(message);
  omemo_storage_free(romeo.storage);
  account_free(&romeo);
  CHECK(store.destroyed == 1);
  store_wipe(&store);
}

static void results_wait_for_wait(void) {
  struct account romeo;
  struct end end = {0};
  omemo_op op = 0, called = 0;
  start_connected(&romeo, ROMEO);
  CHECK(take(omemo_manager_wait(romeo.manager, 0, 0)) == OMEMO_ERR_STALE);
  CHECK(take(omemo_manager_wait(romeo.manager, UINT64_MAX, -1)) == OMEMO_ERR_STALE);
  CHECK(take(omemo_manager_wait(romeo.manager, 1, -2)) == OMEMO_ERR_ARGUMENT);
  CHECK(take(omemo_manager_wait(NULL, 1, -1)) == OMEMO_ERR_NULL);
  CHECK(encrypt(&romeo, NOBODY, NULL, NULL, &op) == OMEMO_OK);
  CHECK(take(omemo_manager_wait(romeo.manager, op, 0)) == OMEMO_ERR_PENDING);
  CHECK(take(omemo_manager_wait(romeo.manager, op, 20)) == OMEMO_ERR_PENDING);
  CHECK(romeo.open_count > 0);
  romeo.later = false;
  answer_all(&romeo, 0);
  omemo_result *result = omemo_manager_wait(romeo.manager, op, -1);
  CHECK(omemo_result_context(result) && strcmp(omemo_result_context(result), NOBODY) == 0);
  CHECK(take(result) != OMEMO_ERR_PENDING);
  CHECK(take(omemo_manager_wait(romeo.manager, op, -1)) == OMEMO_ERR_STALE);
  /* One with a callback of its own is run to its end, and leaves nothing but its status. */
  CHECK(encrypt(&romeo, NOBODY, on_done, &end, &called) == OMEMO_OK);
  result = omemo_manager_wait(romeo.manager, called, -1);
  CHECK(end.calls == 1 && omemo_result_status(result) == end.status && omemo_result_row_count(result) == 0);
  CHECK(take(result) == end.status);
  CHECK(take(omemo_manager_wait(romeo.manager, called, -1)) == OMEMO_ERR_STALE);
  account_free(&romeo);
  free(end.xml);
}

static void a_thousand_results_are_kept(void) {
  static omemo_op ops[1005];
  struct account romeo;
  start_connected(&romeo, ROMEO);
  for (size_t i = 0; i < 1005; i++) {
    CHECK(encrypt(&romeo, NOBODY, NULL, NULL, &ops[i]) == OMEMO_OK);
    CHECK(omemo_op_cancel(ops[i]) == OMEMO_OK);
  }
  settle(&romeo, 0);
  for (size_t i = 0; i < 1005; i++)
    CHECK(take(omemo_manager_wait(romeo.manager, ops[i], 0)) == (i < 5 ? OMEMO_ERR_STALE : OMEMO_ERR_CANCELLED));
  account_free(&romeo);
}

unsigned contract_operations(void) {
  RUN(one_end_each);
  RUN(a_failed_start_has_no_end);
  RUN(jids_are_listed_and_purged);
  RUN(nothing_goes_out_before_the_first_connected);
  RUN(results_wait_for_wait);
  RUN(a_thousand_results_are_kept);
  server_wipe();
  return cases_failed;
}
