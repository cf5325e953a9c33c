/* One case for each promise of the contract at the top of omemo.h, most with answers inside the callback and later, in
 * order, backwards and shuffled. */
#define _POSIX_C_SOURCE 200809L
#include "world.h"

#include <time.h>

#define ROMEO "romeo@montague.example"
#define JULIET "juliet@capulet.example"
#define NOBODY "nobody@verona.example"

static void start(struct account *account, const char *jid) {
  memset(account, 0, sizeof *account);
  account->jid = jid;
  account_new(account);
}

/* Romeo, connected; questions wait from now on. */
static void start_connected(struct account *account, const char *jid) {
  start(account, jid);
  account_connect(account);
  account->later = true;
}

static omemo_status take(omemo_result *result) {
  omemo_status status = omemo_result_status(result);
  CHECK(result != NULL && omemo_result_detail(result) != NULL);
  omemo_result_free(result);
  return status;
}

static void pause_ms(long ms) {
  struct timespec time = {ms / 1000, (ms % 1000) * 1000000};
  nanosleep(&time, NULL);
}

/* -- 1: events come in run only, services may not come in -- */

static void events_come_in_run_only(void) {
  struct account romeo;
  struct end end = {0};
  start_connected(&romeo, ROMEO);
  omemo_op op = 0;
  unsigned before = romeo.events;
  end.account = &romeo;
  CHECK(encrypt(&romeo, NOBODY, on_done, &end, &op) == OMEMO_OK);
  CHECK(romeo.events == before);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(romeo.events > before && pthread_equal(romeo.event_thread, pthread_self()));
  before = romeo.events;
  answer_all(&romeo, 0);
  CHECK(romeo.events == before && end.calls == 0);
  CHECK(omemo_op_cancel(op) == OMEMO_OK);
  CHECK(romeo.events == before && end.calls == 0);
  CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK);
  CHECK(romeo.events == before && end.calls == 0);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(end.calls == 1);
  account_free(&romeo);
}

static unsigned refusals;

/* All that takes a manager, a store, an operation or a request is refused; data may be handled. */
static void come_in(struct account *account) {
  static const uint8_t key[32] = {0};
  omemo_manager *m = account->manager;
  omemo_decrypted *decrypted = NULL;
  omemo_devices *devices = NULL;
  omemo_storage *storage = NULL;
  omemo_manager *second = NULL;
  omemo_op op = 0;
  omemo_draft *draft = omemo_draft_new();
  omemo_message *message = omemo_message_new(OMEMO_NS_2, 1);
  omemo_device_list *list = omemo_device_list_new(OMEMO_NS_2), *parsed = NULL;
  omemo_config *config = omemo_config_new();
  const omemo_storage_callbacks callbacks = {sizeof callbacks, store_load, store_commit};
  CHECK(draft && message && list && config);
  CHECK(omemo_draft_set_body(draft, "text") == OMEMO_OK && omemo_draft_add_recipient(draft, NOBODY) == OMEMO_OK);
  CHECK(omemo_device_list_add(list, 1, NULL, NULL) == OMEMO_OK);
  const char *xml = omemo_device_list_xml(list, NULL);
  CHECK(omemo_device_list_parse(xml, strlen(xml), &parsed) == OMEMO_OK && omemo_device_list_count(parsed) == 1);
  CHECK(strcmp(omemo_status_name(OMEMO_ERR_BUSY), "OMEMO_ERR_BUSY") == 0);

  CHECK(omemo_manager_run(m) == OMEMO_ERR_BUSY);
  CHECK(take(omemo_manager_wait(m, 1, 0)) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_timeout(m) == -1);
  CHECK(omemo_manager_connected(m, OMEMO_CATCH_UP_NONE, NULL, NULL, &op) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_disconnected(m) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_encrypt(m, draft, NULL, NULL, &op) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_decrypt(m, NOBODY, NULL, message, &decrypted) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_decrypt_xml(m, NOBODY, NULL, xml, strlen(xml), &decrypted) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_devices(m, NULL, &devices) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_refresh_devices(m, NULL, NULL, NULL, NULL, &op) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_update_device_list(m, NOBODY, list) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_set_trust(m, NOBODY, key, sizeof key, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_accept_identity(m, NOBODY, 1, key, sizeof key) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_new(config, &second) == OMEMO_ERR_BUSY);
  CHECK(omemo_storage_memory_new(&storage) == OMEMO_ERR_BUSY);
  CHECK(omemo_storage_callbacks_new(&callbacks, NULL, NULL, &storage) == OMEMO_ERR_BUSY);
  CHECK(omemo_config_set_storage(config, account->storage) == OMEMO_ERR_BUSY);
  CHECK(omemo_op_cancel(1) == OMEMO_ERR_BUSY);
  CHECK(omemo_request_resolve(1) == OMEMO_ERR_BUSY);
  CHECK(omemo_request_resolve_xml(1, xml, strlen(xml)) == OMEMO_ERR_BUSY);
  CHECK(omemo_request_resolve_device_list(1, list) == OMEMO_ERR_BUSY);
  CHECK(omemo_request_decide(1, 0, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == OMEMO_ERR_BUSY);
  CHECK(omemo_request_reject(1, OMEMO_REJECT_FAILED) == OMEMO_ERR_BUSY);
  CHECK(!decrypted && !devices && !storage && !second && op == 0);

  omemo_device_list_free(parsed);
  omemo_device_list_free(list);
  omemo_message_free(message);
  omemo_draft_free(draft);
  omemo_config_free(config);
  refusals++;
}

static void services_are_refused(void) {
  struct store store = {0};
  struct account romeo = {0};
  unsigned seen[5];
  store.account = &romeo;
  romeo.jid = ROMEO;
  romeo.storage = store_open(&store);
  romeo.clock = true;
  romeo.now = 1700000000000;
  romeo.in_evaluate = romeo.in_wakeup = romeo.in_now = romeo.in_log = come_in;
  store.in_load = store.in_commit = come_in;
  account_new(&romeo);
  account_connect(&romeo);
  seen[0] = store.loads;
  seen[1] = store.commits;
  seen[2] = romeo.evaluations;
  seen[3] = romeo.wakeups;
  seen[4] = refusals;
  for (size_t i = 0; i < 5; i++) CHECK(seen[i] > 0);
  CHECK(refusals >= store.loads + store.commits + romeo.evaluations + romeo.wakeups);
  omemo_storage_free(romeo.storage);
  account_free(&romeo);
  CHECK(store.destroyed == 1);
  store_wipe(&store);
}

static struct account *victim;
static struct store *victim_store;
static omemo_storage *victim_storage;
static unsigned destroyed_inside;

static void free_victims(struct account *account) {
  (void)account;
  if (!victim) return;
  struct account *freed = victim;
  victim = NULL;
  omemo_manager_free(freed->manager);
  freed->manager = NULL;
  omemo_storage_free(victim_storage);
  destroyed_inside += freed->destroyed + victim_store->destroyed;
}

/* A manager and a store that are freed in a service end when the call around the service returns: the manager that is
 * being called, and another one. */
static void free_in_a_service_waits_for_the_call(void) {
  for (int kind = 0; kind < 10; kind++) {
    bool same = kind % 2;
    struct store store = {0}, other_store = {0};
    struct account romeo = {0}, juliet;
    struct end end = {0};
    omemo_op op = 0;
    romeo.jid = ROMEO;
    romeo.clock = true;
    romeo.now = 1700000000000;
    romeo.storage = store_open(&store);
    store.account = &romeo;
    account_new(&romeo);
    omemo_storage_free(romeo.storage);
    account_connect(&romeo);
    romeo.later = true;
    start_connected(&juliet, JULIET);
    CHECK(encrypt(same ? &romeo : &juliet, NOBODY, on_done, &end, &op) == OMEMO_OK);
    omemo_manager *called = romeo.manager;
    destroyed_inside = 0;
    victim = same ? &romeo : &juliet;
    victim_store = &other_store;
    victim_storage = store_open(&other_store);
    switch (kind / 2) {
    case 0:
      romeo.in_now = free_victims;
      break;
    case 1:
      romeo.in_evaluate = free_victims;
      break;
    case 2:
      romeo.in_wakeup = free_victims;
      break;
    case 3:
      store.in_load = free_victims;
      break;
    default:
      store.in_commit = free_victims;
      break;
    }
    static const uint8_t key[32] = {0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                    0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                    0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66};
    for (int call = 0; call < 4 && victim; call++) {
      omemo_draft *draft = draft_to(JULIET, "Ay me!");
      omemo_devices *devices = NULL;
      switch (call) {
      case 0:
        (void)omemo_manager_run(called);
        break;
      case 1:
        (void)omemo_manager_encrypt(called, draft, NULL, NULL, NULL);
        break;
      case 2:
        (void)omemo_manager_devices(called, NOBODY, &devices);
        break;
      default:
        (void)omemo_manager_set_trust(called, NOBODY, key, sizeof key, OMEMO_TRUST_LEVEL_NAME_TRUSTED);
        break;
      }
      omemo_devices_free(devices);
      omemo_draft_free(draft);
    }
    CHECK(victim == NULL && destroyed_inside == 0);
    CHECK((same ? &romeo : &juliet)->destroyed == 1 && (same ? &juliet : &romeo)->destroyed == 0);
    CHECK(other_store.destroyed == 1);
    CHECK(end.calls == 1 && end.status == OMEMO_ERR_CANCELLED);
    CHECK(omemo_op_cancel(op) == OMEMO_ERR_STALE);
    romeo.in_now = romeo.in_evaluate = romeo.in_wakeup = NULL;
    store.in_load = store.in_commit = NULL;
    account_free(same ? &juliet : &romeo);
    forget_open(same ? &romeo : &juliet);
    CHECK(store.destroyed == 1);
    store_wipe(&store);
  }
}

/* -- 2: exactly one end -- */

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
  CHECK(omemo_manager_connected(romeo.manager, 1, on_done, &end, &op) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_manager_refresh_devices(romeo.manager, "a/b", NULL, on_done, &end, &op) == OMEMO_ERR_JID);
  CHECK(omemo_manager_refresh_devices(romeo.manager, NULL, "urn:x", on_done, &end, &op) == OMEMO_ERR_UNKNOWN_NAMESPACE);
  CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK);
  CHECK(omemo_manager_refresh_devices(romeo.manager, NULL, NULL, on_done, &end, &op) == OMEMO_ERR_OFFLINE);
  omemo_draft_free(broken);
  settle(&romeo, 0);
  account_free(&romeo);
  CHECK(end.calls == 0 && op == 77);
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

/* -- 3: questions -- */

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

/* -- 4: when to run -- */

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

/* -- 5: cancel -- */

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

/* -- 7: threads -- */

static struct account pair[2];
static omemo_request mailbox[2][32]; /* questions that the other thread answers */

static void post(struct account *account) {
  size_t mine = account == &pair[0] ? 0 : 1;
  pthread_mutex_lock(&world);
  struct question *last = &account->open[account->open_count - 1];
  if (last->kind == FETCH_LIST && strncmp(last->jid, "m", 1) == 0) {
    for (size_t i = 0; i < 32; i++)
      if (mailbox[1 - mine][i] == 0) {
        mailbox[1 - mine][i] = last->request;
        break;
      }
  }
  pthread_mutex_unlock(&world);
}

static struct end end_of[2];
static unsigned started_of[2];

static void *live(void *data) {
  size_t mine = *(const size_t *)data;
  for (unsigned i = 0; i < 300; i++) {
    char jid[64];
    omemo_op op = 0;
    snprintf(jid, sizeof jid, "m%u@verona.example", i % 10);
    if (CHECK(encrypt(&pair[mine], jid, on_done, &end_of[mine], &op) == OMEMO_OK)) started_of[mine]++;
    CHECK(omemo_manager_run(pair[mine].manager) == OMEMO_OK);
    if (i % 9 == 0) omemo_op_cancel(op);
    for (size_t j = 0; j < 32; j++) {
      pthread_mutex_lock(&world);
      omemo_request request = mailbox[mine][j];
      mailbox[mine][j] = 0;
      pthread_mutex_unlock(&world);
      if (request) omemo_request_reject(request, OMEMO_REJECT_NOT_FOUND);
    }
    if (i % 50 == 0) CHECK(take(omemo_manager_wait(pair[mine].manager, op, 1)) != OMEMO_ERR_NULL);
  }
  omemo_manager_free(pair[mine].manager); /* if the other thread is answering into it, that one ends it */
  return NULL;
}

static void two_managers_answer_into_each_other(void) {
  static const size_t numbers[2] = {0, 1};
  pthread_t threads[2];
  for (size_t i = 0; i < 2; i++) {
    start_connected(&pair[i], i ? JULIET : ROMEO);
    pair[i].in_question = post;
    memset(&end_of[i], 0, sizeof end_of[i]);
    started_of[i] = 0;
  }
  for (size_t i = 0; i < 2; i++) {
    void *number = (void *)(uintptr_t)&numbers[i];
    CHECK(pthread_create(&threads[i], NULL, live, number) == 0);
  }
  for (size_t i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  for (size_t i = 0; i < 2; i++) {
    CHECK(pair[i].destroyed == 1);
    CHECK(started_of[i] > 0 && end_of[i].calls == started_of[i]);
    free(end_of[i].xml);
    forget_open(&pair[i]);
    free(pair[i].sent_to);
    free(pair[i].sent_xml);
  }
}

static void *use_it(void *data) {
  struct account *account = data;
  for (unsigned i = 0; i < 100; i++) {
    omemo_op op = 0;
    omemo_devices *devices = NULL;
    omemo_decrypted *decrypted = NULL;
    CHECK(encrypt(account, NOBODY, NULL, NULL, &op) == OMEMO_OK);
    CHECK(omemo_manager_devices(account->manager, NULL, &devices) == OMEMO_OK);
    CHECK(omemo_manager_decrypt_xml(account->manager, NOBODY, NULL, "<", 1, &decrypted) == OMEMO_OK);
    omemo_decrypted_free(decrypted);
    omemo_devices_free(devices);
    omemo_status status = omemo_manager_run(account->manager);
    CHECK(status == OMEMO_OK || status == OMEMO_ERR_BUSY);
    status = take(omemo_manager_wait(account->manager, op, 10000));
    CHECK(status != OMEMO_ERR_PENDING && status != OMEMO_ERR_STALE && status != OMEMO_ERR_BUSY);
  }
  return NULL;
}

static void one_manager_serves_many_threads(void) {
  struct account romeo;
  pthread_t threads[4];
  start_connected(&romeo, ROMEO);
  romeo.later = false;
  for (size_t i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, use_it, &romeo) == 0);
  for (size_t i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  account_free(&romeo);
}

/* -- 8: order -- */

static void the_same_recipients_keep_their_order(void) {
  for (unsigned order = 0; order < 8; order++) {
    struct account romeo;
    struct end list[12] = {0}, alone = {0};
    static const char *const jids[3] = {"a@verona.example", "b@verona.example", "c@verona.example"};
    start_connected(&romeo, ROMEO);
    for (size_t i = 0; i < 12; i++) CHECK(encrypt(&romeo, jids[i % 3], on_done, &list[i], NULL) == OMEMO_OK);
    settle(&romeo, order);
    for (size_t i = 0; i < 12; i++) {
      CHECK(list[i].calls == 1);
      if (i >= 3) CHECK(list[i - 3].when < list[i].when);
    }
    /* Somebody whom nobody answers holds up nobody else. */
    CHECK(encrypt(&romeo, "silent@verona.example", on_done, &alone, NULL) == OMEMO_OK);
    CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
    CHECK(romeo.open_count == 1);
    forget_open(&romeo);
    CHECK(encrypt(&romeo, jids[0], on_done, &list[0], NULL) == OMEMO_OK);
    settle(&romeo, order);
    CHECK(list[0].calls == 2 && alone.calls == 0);
    account_free(&romeo);
    CHECK(alone.calls == 1 && alone.status == OMEMO_ERR_CANCELLED);
  }
}

/* -- 10 and 11: memory, tables, failures -- */

static void tables_of_other_headers(void) {
  struct account romeo = {0};
  struct {
    omemo_callbacks known;
    void (*unknown)(void);
  } newer;
  romeo.jid = ROMEO;
  const size_t least = offsetof(omemo_callbacks, request_withdrawn);
  omemo_callbacks callbacks = account_callbacks(&romeo);
  static const size_t wrong[] = {0, 1, sizeof(size_t), SIZE_MAX};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    omemo_config *config = omemo_config_new();
    callbacks.struct_size = wrong[i];
    CHECK(omemo_config_set_callbacks(config, &callbacks, &romeo, on_destroy) == OMEMO_ERR_ARGUMENT);
    omemo_config_free(config);
    CHECK(romeo.destroyed == 0); /* the call that takes the table failed */
  }
  for (size_t size = least; size <= sizeof callbacks; size += sizeof callbacks.request_withdrawn) {
    omemo_config *config = omemo_config_new();
    omemo_callbacks *shorter = need(malloc(size)); /* what is behind it must not be read */
    callbacks.struct_size = size;
    memcpy(shorter, &callbacks, size);
    romeo.destroyed = 0;
    CHECK(omemo_config_set_callbacks(config, shorter, &romeo, on_destroy) == OMEMO_OK);
    CHECK(omemo_config_set_callbacks(config, shorter, &romeo, on_destroy) == OMEMO_ERR_ARGUMENT); /* twice */
    omemo_config_free(config);
    free(shorter);
    CHECK(romeo.destroyed == 1);
  }
  for (int known = 0; known < 2; known++) {
    omemo_config *config = omemo_config_new();
    memset(&newer, 0, sizeof newer);
    newer.known = account_callbacks(&romeo);
    newer.known.struct_size = sizeof newer;
    if (!known) newer.unknown = server_wipe;
    omemo_status status = omemo_config_set_callbacks(config, &newer.known, &romeo, NULL);
    CHECK(status == (known ? OMEMO_OK : OMEMO_ERR_ARGUMENT));
    omemo_config_free(config);
  }
}

static void builders_keep_their_first_failure(void) {
  struct account romeo = {0};
  omemo_manager *manager = NULL;
  romeo.jid = ROMEO;
  omemo_config *config = omemo_config_new();
  CHECK(strcmp(omemo_config_error(config), "") == 0);
  CHECK(omemo_manager_new(config, &manager) == OMEMO_ERR_ARGUMENT && strcmp(omemo_config_error(config), "") != 0);
  omemo_config_free(config);
  config = account_config(&romeo);
  CHECK(omemo_config_set_option(config, 12345, 1) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_config_set_jid(config, "a/b") == OMEMO_ERR_JID);
  CHECK(omemo_config_set_jid(config, ROMEO) == OMEMO_OK); /* is judged by itself */
  CHECK(omemo_manager_new(config, &manager) == OMEMO_ERR_ARGUMENT && strcmp(omemo_config_error(config), "") != 0);
  CHECK(manager == NULL);
  omemo_config_free(config);
  CHECK(romeo.destroyed == 1);
}

static void options_have_bounds(void) {
  static const struct {
    int32_t option;
    uint64_t least, most;
  } options[] = {
      {OMEMO_OPTION_REQUEST_TIMEOUT_MS, 1000, 3600000},
      {OMEMO_OPTION_MAX_OPEN_FETCHES, 1, 1000},
      {OMEMO_OPTION_SKIPPED_PER_SESSION, 0, 2000},
      {OMEMO_OPTION_SKIPPED_PER_MESSAGE, 0, 2000},
  };
  omemo_config *config = omemo_config_new();
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    CHECK(omemo_config_set_option(config, options[i].option, options[i].least) == OMEMO_OK);
    CHECK(omemo_config_set_option(config, options[i].option, options[i].most) == OMEMO_OK);
    CHECK(omemo_config_set_option(config, options[i].option, options[i].most + 1) == OMEMO_ERR_ARGUMENT);
    CHECK(omemo_config_set_option(config, options[i].option, UINT64_MAX) == OMEMO_ERR_ARGUMENT);
    if (options[i].least > 0)
      CHECK(omemo_config_set_option(config, options[i].option, options[i].least - 1) == OMEMO_ERR_ARGUMENT);
  }
  omemo_config_free(config);
  /* One message cannot skip more than a session keeps. */
  struct account romeo = {0};
  omemo_manager *manager = NULL;
  romeo.jid = ROMEO;
  config = account_config(&romeo);
  CHECK(omemo_config_set_option(config, OMEMO_OPTION_SKIPPED_PER_SESSION, 10) == OMEMO_OK);
  CHECK(omemo_config_set_option(config, OMEMO_OPTION_SKIPPED_PER_MESSAGE, 11) == OMEMO_OK);
  CHECK(omemo_manager_new(config, &manager) == OMEMO_ERR_ARGUMENT);
  omemo_config_free(config);
}

static void a_store_is_open_once(void) {
  struct account romeo = {0};
  omemo_manager *second = NULL;
  romeo.jid = ROMEO;
  omemo_config *config = account_config(&romeo);
  CHECK(omemo_manager_new(config, &romeo.manager) == OMEMO_OK);
  CHECK(omemo_manager_new(config, &second) == OMEMO_ERR_STORAGE_LOCKED && second == NULL);
  omemo_manager_free(romeo.manager);
  CHECK(omemo_manager_new(config, &romeo.manager) == OMEMO_OK);
  omemo_config_free(config);
  account_free(&romeo);
}

static void a_store_that_fails(void) {
  struct store store = {0};
  struct account romeo = {0};
  omemo_manager *manager = NULL;
  store.account = &romeo;
  store.fail = OMEMO_ERR_STORAGE;
  romeo.jid = ROMEO;
  romeo.storage = store_open(&store);
  omemo_config *config = account_config(&romeo);
  CHECK(omemo_manager_new(config, &manager) == OMEMO_ERR_STORAGE && manager == NULL);
  store.fail = 42; /* no status of ours */
  CHECK(omemo_manager_new(config, &manager) == OMEMO_ERR_STORAGE && manager == NULL);
  store.fail = OMEMO_OK;
  CHECK(omemo_manager_new(config, &romeo.manager) == OMEMO_OK);
  omemo_config_free(config);
  omemo_storage_free(romeo.storage);
  account_connect(&romeo);
  account_free(&romeo);
  CHECK(store.destroyed == 1);
  store_wipe(&store);
}

/* -- 12: half a success, and the way of a message through all of it -- */

static void deliver(struct account *from, struct account *to, const char *xml, const char *expected) {
  omemo_decrypted *decrypted = NULL;
  CHECK(omemo_manager_decrypt_xml(to->manager, from->jid, NULL, xml, strlen(xml), &decrypted) == OMEMO_OK);
  CHECK(omemo_decrypted_action(decrypted) == OMEMO_ACTION_SHOW);
  CHECK(omemo_decrypted_body(decrypted) && strcmp(omemo_decrypted_body(decrypted), expected) == 0);
  omemo_decrypted_free(decrypted);
}

static void messages_go_both_ways(void) {
  for (unsigned order = 0; order < 5; order++) {
    struct account romeo, juliet;
    server_wipe();
    start_connected(&romeo, ROMEO);
    start_connected(&juliet, JULIET);
    romeo.later = juliet.later = order > 0;
    for (int round = 0; round < 4; round++) {
      struct account *from = round % 2 ? &juliet : &romeo, *to = round % 2 ? &romeo : &juliet;
      struct end end = {0};
      CHECK(encrypt(from, to->jid, on_done, &end, NULL) == OMEMO_OK);
      settle(from, order);
      CHECK(end.calls == 1 && end.status == OMEMO_OK && end.messages == 1 && end.rows >= 1);
      if (end.xml) deliver(from, to, end.xml, "Ay me!");
      settle(to, order);
      free(end.xml);
    }
    CHECK(romeo.decided == 1 && juliet.decided == 1); /* one question of trust each */
    account_free(&romeo);
    account_free(&juliet);
  }
  server_wipe();
}

static void half_a_success_is_reported(void) {
  struct account romeo, juliet;
  server_wipe();
  start_connected(&romeo, ROMEO);
  start_connected(&juliet, JULIET);
  romeo.later = false;
  omemo_op op = 0;
  bool named = false;
  omemo_draft *draft = draft_to(JULIET, "text");
  CHECK(omemo_draft_add_recipient(draft, NOBODY) == OMEMO_OK);
  CHECK(omemo_draft_set_context(draft, "the balcony") == OMEMO_OK);
  CHECK(omemo_manager_encrypt(romeo.manager, draft, NULL, NULL, &op) == OMEMO_OK);
  omemo_result *result = omemo_manager_wait(romeo.manager, op, -1);
  CHECK(omemo_result_status(result) == OMEMO_ERR_NO_ELIGIBLE_DEVICES && omemo_result_message_count(result) == 0);
  CHECK(omemo_result_context(result) && strcmp(omemo_result_context(result), "the balcony") == 0);
  for (size_t i = 0; i < omemo_result_row_count(result); i++) {
    CHECK(omemo_result_row_detail(result, i) != NULL);
    if (omemo_result_row_device(result, i) == 0 && strcmp(omemo_result_row_jid(result, i), NOBODY) == 0) {
      named = true;
      CHECK(omemo_result_row_status(result, i) != OMEMO_OK);
    }
  }
  CHECK(named);
  omemo_result_free(result);
  CHECK(omemo_draft_remove_recipient(draft, NOBODY) == OMEMO_OK);
  CHECK(omemo_manager_encrypt(romeo.manager, draft, NULL, NULL, &op) == OMEMO_OK);
  result = omemo_manager_wait(romeo.manager, op, -1);
  CHECK(omemo_result_status(result) == OMEMO_OK && omemo_result_message_count(result) == 1);
  omemo_result_free(result);
  omemo_draft_free(draft);
  account_free(&romeo);
  account_free(&juliet);
  server_wipe();
}

static void questions_of_trust(void) {
  struct account romeo = {0}, juliet;
  struct end end = {0};
  server_wipe();
  romeo.jid = ROMEO;
  romeo.clock = true;
  romeo.now = 1700000000000;
  account_new(&romeo);
  account_connect(&romeo);
  start_connected(&juliet, JULIET);
  romeo.later = true;
  CHECK(encrypt(&romeo, JULIET, on_done, &end, NULL) == OMEMO_OK);
  for (int i = 0; i < 10 && romeo.decided == 0; i++) {
    CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
    if (romeo.decided == 0) answer_all(&romeo, 0);
  }
  if (!CHECK(romeo.decided == 1 && romeo.open_count == 1 && romeo.open[0].kind == DECIDE_TRUST)) return;
  omemo_request request = romeo.open[0].request;
  CHECK(romeo.open[0].count == 1 && romeo.open[0].context && strcmp(romeo.open[0].context, JULIET) == 0);
  romeo.now += 3000000; /* a person may take her time */
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(romeo.withdrawn == 0 && end.calls == 0);
  CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(romeo.withdrawn == 0);
  CHECK(omemo_request_decide(request, 0, "no such level") == OMEMO_ERR_UNKNOWN_TRUST_LEVEL);
  CHECK(omemo_request_decide(request, 1, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_request_decide(request, 0, NULL) == OMEMO_ERR_NULL);
  CHECK(omemo_request_resolve_xml(request, "<iq/>", 5) == OMEMO_ERR_WRONG_ANSWER);
  CHECK(omemo_request_decide(request, 0, OMEMO_TRUST_LEVEL_NAME_DISTRUSTED) == OMEMO_OK);
  CHECK(omemo_request_decide(request, 0, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == OMEMO_OK); /* the last word counts */
  CHECK(omemo_request_resolve(request) == OMEMO_OK);
  CHECK(omemo_request_decide(request, 0, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == OMEMO_ERR_STALE);
  forget_open(&romeo);
  CHECK(omemo_manager_connected(romeo.manager, OMEMO_CATCH_UP_NONE, NULL, NULL, NULL) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(end.calls == 1 && end.status == OMEMO_OK && end.messages == 1);
  free(end.xml);
  account_free(&romeo);
  account_free(&juliet);
  server_wipe();
}

/* Each case has a server of its own. */
#define RUN(name)                                                                                                      \
  server_wipe();                                                                                                       \
  run_case(#name, name)

int main(void) {
  RUN(events_come_in_run_only);
  RUN(services_are_refused);
  RUN(free_in_a_service_waits_for_the_call);
  RUN(one_end_each);
  RUN(a_failed_start_has_no_end);
  RUN(nothing_goes_out_before_the_first_connected);
  RUN(results_wait_for_wait);
  RUN(a_thousand_results_are_kept);
  RUN(an_answer_counts_once);
  RUN(unreadable_bytes_are_an_answer);
  RUN(identical_questions_are_asked_once);
  RUN(fetches_open_at_a_time_are_limited);
  RUN(network_questions_have_a_deadline);
  RUN(network_questions_are_asked_again_when_connected);
  RUN(a_stream_that_breaks_ends_what_needs_it);
  RUN(questions_without_callback_are_rejected);
  RUN(wakeup_rings_once_for_each_sleep);
  RUN(a_blocking_program_waits);
  RUN(run_stops_after_a_thousand_events);
  RUN(an_event_may_call_anything);
  RUN(cancel_takes_note);
  RUN(free_ends_everything);
  RUN(destroy_is_last);
  RUN(free_inside_an_event_waits_for_run);
  RUN(free_never_waits);
  RUN(free_ends_those_who_wait);
  RUN(two_managers_answer_into_each_other);
  RUN(one_manager_serves_many_threads);
  RUN(the_same_recipients_keep_their_order);
  RUN(tables_of_other_headers);
  RUN(builders_keep_their_first_failure);
  RUN(options_have_bounds);
  RUN(a_store_is_open_once);
  RUN(a_store_that_fails);
  RUN(messages_go_both_ways);
  RUN(half_a_success_is_reported);
  RUN(questions_of_trust);
  server_wipe();
  return cases_failed == 0 ? 0 : 1;
}
