/* Questions and their answers (3 of the contract). */
#include "contract.h"

static void an_answer_counts_once(void) {
  struct account romeo;
  struct end end = {0};
  start_connected(&romeo, ROMEO);
  CHECK(encrypt(&romeo, NOBODY, on_done, &end, NULL) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  if (!CHECK(romeo.open_count == 1 && romeo.open[0].kind == FETCH_LIST)) return;
  omemo_request request = romeo.open[0].request;
  omemo_bundle *bundle =
      omemo_bundle_new(OMEMO_NS_2, (const uint8_t *)NOBODY NOBODY, 32, 1, (const uint8_t *)NOBODY NOBODY, 32,
                       (const uint8_t *)NOBODY NOBODY NOBODY NOBODY, 64);
  CHECK(omemo_request_resolve(request) == OMEMO_ERR_WRONG_ANSWER);
  CHECK(omemo_request_resolve_bundle(request, bundle) == OMEMO_ERR_WRONG_ANSWER);
  CHECK(omemo_request_decide(request, 0, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == OMEMO_ERR_WRONG_ANSWER);
  CHECK(omemo_request_reject(request, 0) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_request_resolve_xml(request, NULL, 0) == OMEMO_ERR_NULL);
  CHECK(omemo_request_resolve_xml(request, "<", SIZE_MAX) == OMEMO_ERR_ARGUMENT);
  omemo_bundle_free(bundle);
  CHECK(end.calls == 0);
  omemo_device_list *list = omemo_device_list_new(OMEMO_NS_2);
  CHECK(omemo_request_resolve_device_list(request, list) == OMEMO_OK); /* it stayed open */
  CHECK(omemo_request_resolve_device_list(request, list) == OMEMO_ERR_STALE);
  CHECK(omemo_request_reject(request, OMEMO_REJECT_FAILED) == OMEMO_ERR_STALE);
  omemo_device_list_free(list);
  forget_open(&romeo);
  unsigned withdrawn = romeo.withdrawn;
  settle(&romeo, 0);
  CHECK(end.calls == 1 && romeo.withdrawn == withdrawn);
  CHECK(omemo_request_resolve(0) == OMEMO_ERR_STALE && omemo_request_resolve(UINT64_MAX) == OMEMO_ERR_STALE);
  account_free(&romeo);
}

static void unreadable_bytes_are_an_answer(void) {
  static const char *const answers[] = {"", "<", "<iq type='error' from='" NOBODY "'/>", "\xff\xfe",
                                        "<devices xmlns='urn:xmpp:omemo:2'>"};
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    struct account romeo;
    struct end end = {0};
    server_wipe(); /* no other own devices, whose bundles were fetched, too */
    start_connected(&romeo, ROMEO);
    CHECK(encrypt(&romeo, NOBODY, on_done, &end, NULL) == OMEMO_OK);
    CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
    if (!CHECK(romeo.open_count == 1)) return;
    CHECK(omemo_request_resolve_xml(romeo.open[0].request, answers[i], strlen(answers[i])) == OMEMO_OK);
    forget_open(&romeo);
    settle(&romeo, 0);
    CHECK(end.calls == 1);
    account_free(&romeo);
  }
}

static void identical_questions_are_asked_once(void) {
  for (unsigned order = 0; order < 4; order++) {
    struct account romeo;
    struct end list[3] = {0};
    server_wipe(); /* no other own devices, whose bundles were fetched, too */
    start_connected(&romeo, ROMEO);
    unsigned before = romeo.fetches;
    for (size_t i = 0; i < 3; i++) CHECK(encrypt(&romeo, NOBODY, on_done, &list[i], NULL) == OMEMO_OK);
    CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
    CHECK(romeo.fetches == before + 1);
    settle(&romeo, order);
    for (size_t i = 0; i < 3; i++) CHECK(list[i].calls == 1);
    account_free(&romeo);
  }
}

static void fetches_open_at_a_time_are_limited(void) {
  for (unsigned order = 0; order < 4; order++) {
    struct account romeo = {0};
    struct end end = {0};
    server_wipe(); /* no other own devices, whose bundles were fetched, too */
    romeo.jid = ROMEO;
    omemo_config *config = account_config(&romeo);
    CHECK(omemo_config_set_option(config, OMEMO_OPTION_MAX_OPEN_FETCHES, 3) == OMEMO_OK);
    CHECK(omemo_manager_new(config, &romeo.manager) == OMEMO_OK);
    omemo_config_free(config);
    account_connect(&romeo);
    romeo.later = true;
    unsigned before = romeo.fetches;
    omemo_draft *draft = omemo_draft_new();
    for (unsigned i = 0; i < 10; i++) {
      char jid[64];
      snprintf(jid, sizeof jid, "m%u@verona.example", i);
      CHECK(omemo_draft_add_recipient(draft, jid) == OMEMO_OK);
    }
    CHECK(omemo_draft_set_body(draft, "text") == OMEMO_OK);
    CHECK(omemo_manager_encrypt(romeo.manager, draft, on_done, &end, NULL) == OMEMO_OK);
    omemo_draft_free(draft);
    settle(&romeo, order);
    CHECK(end.calls == 1 && romeo.fetches == before + 10 && romeo.fetches_open_at_most == 3);
    account_free(&romeo);
  }
}

static void network_questions_have_a_deadline(void) {
  struct account romeo = {0};
  struct end end = {0};
  romeo.jid = ROMEO;
  romeo.clock = true;
  romeo.now = 1700000000000;
  account_new(&romeo);
  account_connect(&romeo);
  romeo.later = true;
  CHECK(encrypt(&romeo, NOBODY, on_done, &end, NULL) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(romeo.open_count == 1);
  omemo_request request = romeo.open_count ? romeo.open[0].request : 0;
  int64_t timeout = omemo_manager_timeout(romeo.manager);
  CHECK(timeout > 0 && timeout <= 60000);
  romeo.now += 59000;
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(end.calls == 0 && romeo.withdrawn == 0);
  romeo.now -= 30000; /* a clock that is set back does no harm */
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(end.calls == 0);
  romeo.now += 2000;
  CHECK(omemo_manager_timeout(romeo.manager) == 0);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(romeo.withdrawn == 1 && romeo.last_withdrawn == request && end.calls == 1);
  CHECK(omemo_request_reject(request, OMEMO_REJECT_NOT_FOUND) == OMEMO_ERR_STALE);
  account_free(&romeo);
}

static void network_questions_are_asked_again_when_connected(void) {
  struct account romeo;
  struct end end = {0}, again = {0};
  start_connected(&romeo, ROMEO);
  CHECK(encrypt(&romeo, NOBODY, on_done, &end, NULL) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(romeo.open_count == 1);
  omemo_request first = romeo.open_count ? romeo.open[0].request : 0;
  CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK);
  CHECK(omemo_request_reject(first, OMEMO_REJECT_NOT_FOUND) == OMEMO_ERR_STALE);
  settle(&romeo, 0);
  CHECK(romeo.withdrawn == 1 && end.calls == 0 && romeo.open_count == 0);
  CHECK(omemo_manager_connected(romeo.manager, OMEMO_CATCH_UP_NONE, on_done, &again, NULL) == OMEMO_OK);
  settle(&romeo, 1);
  CHECK(end.calls == 1 && again.calls == 1);
  account_free(&romeo);
}

static void a_stream_that_breaks_ends_what_needs_it(void) {
  struct account romeo;
  struct end connected = {0}, refresh = {0}, encryption = {0};
  start_connected(&romeo, ROMEO);
  CHECK(omemo_manager_connected(romeo.manager, OMEMO_CATCH_UP_NONE, on_done, &connected, NULL) == OMEMO_OK);
  CHECK(omemo_manager_refresh_devices(romeo.manager, NOBODY, NULL, on_done, &refresh, NULL) == OMEMO_OK);
  CHECK(encrypt(&romeo, NOBODY, on_done, &encryption, NULL) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(refresh.calls == 1 && refresh.status == OMEMO_ERR_OFFLINE);
  CHECK(connected.calls == 1 && connected.status == OMEMO_ERR_OFFLINE);
  CHECK(encryption.calls == 0);
  account_free(&romeo);
  CHECK(encryption.calls == 1 && encryption.status == OMEMO_ERR_CANCELLED);
}

/* What has no callback is rejected, and nothing hangs. */
static void questions_without_callback_are_rejected(void) {
  struct account romeo = {0};
  struct end end = {0};
  omemo_callbacks none;
  omemo_storage *storage = NULL;
  memset(&none, 0, sizeof none);
  none.struct_size = sizeof none;
  omemo_config *config = omemo_config_new();
  CHECK(omemo_storage_memory_new(&storage) == OMEMO_OK);
  CHECK(omemo_config_set_jid(config, ROMEO) == OMEMO_OK && omemo_config_set_storage(config, storage) == OMEMO_OK);
  CHECK(omemo_config_set_callbacks(config, &none, &romeo, on_destroy) == OMEMO_OK);
  CHECK(omemo_manager_new(config, &romeo.manager) == OMEMO_OK);
  omemo_config_free(config);
  omemo_storage_free(storage);
  CHECK(omemo_manager_connected(romeo.manager, OMEMO_CATCH_UP_NONE, on_done, &end, NULL) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(end.calls == 1);
  account_free(&romeo);
}

unsigned contract_requests(void) {
  RUN(an_answer_counts_once);
  RUN(unreadable_bytes_are_an_answer);
  RUN(identical_questions_are_asked_once);
  RUN(fetches_open_at_a_time_are_limited);
  RUN(network_questions_have_a_deadline);
  RUN(network_questions_are_asked_again_when_connected);
  RUN(a_stream_that_breaks_ends_what_needs_it);
  RUN(questions_without_callback_are_rejected);
  server_wipe();
  return cases_failed;
}
