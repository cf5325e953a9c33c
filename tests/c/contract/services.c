/* What comes in a run only, and what a service may not call (1 of the contract). */
#include "contract.h"

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
  CHECK(omemo_manager_replace_sessions(m, NULL, 0, NULL, NULL, &op) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_set_label(m, "x", NULL, NULL, &op) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_ensure_consistency(m, NULL, NULL, &op) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_clear_device_lists(m, NULL, NULL, &op) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_remove_own_device(m, 7, NULL, NULL, &op) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_reset_identity(m, NULL, NULL, &op) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_delete_account(m, NULL, NULL, &op) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_health(m, NULL, NULL, NULL, &op) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_catch_up_begin(m) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_purge_jid(m, JULIET, false) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_acknowledge(m, 1) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_unacknowledged(m, 0, &decrypted) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_catch_up_end(m, NULL, NULL, &op) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_update_device_list(m, NOBODY, list) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_set_trust(m, NOBODY, key, sizeof key, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_accept_identity(m, NOBODY, 1, key, sizeof key) == OMEMO_ERR_BUSY);
  CHECK(omemo_manager_new(config, &second) == OMEMO_ERR_BUSY);
  CHECK(omemo_storage_memory_new(&storage) == OMEMO_ERR_BUSY);
  CHECK(omemo_storage_sqlite_open("store", &storage) == OMEMO_ERR_BUSY);
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

unsigned contract_services(void) {
  RUN(events_come_in_run_only);
  RUN(services_are_refused);
  RUN(free_in_a_service_waits_for_the_call);
  server_wipe();
  return cases_failed;
}
