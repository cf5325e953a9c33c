/* Decrypted content that is kept until the client acknowledges it (11 of the contract). */
#include "contract.h"

/* Romeo's message to Juliet, as XML. */
static char *sealed(struct account *romeo) {
  struct end end = {0};
  CHECK(encrypt(romeo, JULIET, on_done, &end, NULL) == OMEMO_OK);
  settle(romeo, 0);
  CHECK(end.calls == 1 && end.status == OMEMO_OK && end.xml);
  return end.xml;
}

static omemo_decrypted *decrypt(const struct account *account, const char *xml) {
  omemo_decrypted *decrypted = NULL;
  CHECK(omemo_manager_decrypt_xml(account->manager, ROMEO, NULL, xml, strlen(xml), &decrypted) == OMEMO_OK);
  return decrypted;
}

static bool same_text(const char *one, const char *other) {
  return one && other ? strcmp(one, other) == 0 : one == other;
}

/* All getters give what they gave for the first time. */
static void check_same(const omemo_decrypted *one, const omemo_decrypted *other) {
  static const int32_t parts[] = {OMEMO_KEY_PART_KEY, OMEMO_KEY_PART_TAG, OMEMO_KEY_PART_IV};
  size_t len = 0, other_len = 0;
  CHECK(omemo_decrypted_action(one) == omemo_decrypted_action(other));
  CHECK(omemo_decrypted_status(one) == omemo_decrypted_status(other));
  CHECK(same_text(omemo_decrypted_detail(one), omemo_decrypted_detail(other)));
  CHECK(same_text(omemo_decrypted_body(one), omemo_decrypted_body(other)));
  CHECK(same_text(omemo_decrypted_from(one), omemo_decrypted_from(other)));
  CHECK(same_text(omemo_decrypted_room(one), omemo_decrypted_room(other)));
  CHECK(same_text(omemo_decrypted_namespace(one), omemo_decrypted_namespace(other)));
  CHECK(same_text(omemo_decrypted_trust_level_name(one), omemo_decrypted_trust_level_name(other)));
  CHECK(omemo_decrypted_core_trust(one) == omemo_decrypted_core_trust(other));
  CHECK(omemo_decrypted_provisional(one) == omemo_decrypted_provisional(other));
  CHECK(omemo_decrypted_device(one) == omemo_decrypted_device(other));
  CHECK(omemo_decrypted_receipt(one) == omemo_decrypted_receipt(other));
  CHECK((omemo_decrypted_flags(one) | OMEMO_DECRYPTED_REPEATED) == omemo_decrypted_flags(other));
  const uint8_t *bytes = omemo_decrypted_plaintext(one, &len), *others = omemo_decrypted_plaintext(other, &other_len);
  CHECK(bytes && others && len == other_len && memcmp(bytes, others, len) == 0);
  bytes = omemo_decrypted_identity_key(one, &len), others = omemo_decrypted_identity_key(other, &other_len);
  CHECK(bytes && others && len == 32 && other_len == 32 && memcmp(bytes, others, 32) == 0);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    bytes = omemo_decrypted_key(one, parts[i], &len), others = omemo_decrypted_key(other, parts[i], &other_len);
    CHECK(!bytes == !others && (!bytes || (len == other_len && memcmp(bytes, others, len) == 0)));
  }
}

/* Romeo, and Juliet who acknowledges, with a store that outlives her. */
static void begin(struct account *romeo, struct account *juliet, struct store *store) {
  server_wipe();
  memset(juliet, 0, sizeof *juliet);
  memset(store, 0, sizeof *store);
  store->account = juliet;
  juliet->jid = JULIET;
  juliet->acknowledge = true;
  juliet->storage = store_open(store);
  account_new(juliet);
  account_connect(juliet);
  start_connected(romeo, ROMEO);
  romeo->later = false;
}

static void restart(struct account *juliet, struct store *store) {
  account_free(juliet);
  omemo_storage_free(juliet->storage);
  juliet->storage = store_open(store);
  account_new(juliet);
}

static void end_all(struct account *romeo, struct account *juliet, struct store *store) {
  account_free(romeo);
  account_free(juliet);
  omemo_storage_free(juliet->storage);
  CHECK(store->destroyed > 0);
  store_wipe(store);
}

static void content_outlives_the_process_until_it_is_acknowledged(void) {
  struct account romeo, juliet;
  struct store store;
  omemo_decrypted *kept = NULL;
  begin(&romeo, &juliet, &store);
  char *xml = sealed(&romeo);
  omemo_decrypted *first = decrypt(&juliet, xml);
  const uint64_t receipt = omemo_decrypted_receipt(first);
  CHECK(receipt != 0 && (omemo_decrypted_flags(first) & OMEMO_DECRYPTED_REPEATED) == 0);
  for (int round = 0; round < 2; round++) {
    const unsigned commits = store.commits;
    omemo_decrypted *again = decrypt(&juliet, xml);
    check_same(first, again);
    CHECK(omemo_manager_unacknowledged(juliet.manager, 0, &kept) == OMEMO_OK);
    check_same(first, kept);
    omemo_decrypted_free(again);
    omemo_decrypted_free(kept);
    CHECK(omemo_manager_unacknowledged(juliet.manager, receipt, &kept) == OMEMO_ERR_NOT_FOUND);
    CHECK(store.commits == commits);
    if (round == 0) restart(&juliet, &store); /* not connected: nothing of this needs a stream */
  }
  store.fail = OMEMO_ERR_STORAGE;
  CHECK(omemo_manager_acknowledge(juliet.manager, receipt) == OMEMO_ERR_STORAGE);
  store.fail = OMEMO_OK;
  CHECK(omemo_manager_unacknowledged(juliet.manager, 0, &kept) == OMEMO_OK);
  omemo_decrypted_free(kept);
  CHECK(omemo_manager_acknowledge(juliet.manager, receipt) == OMEMO_OK);
  CHECK(omemo_manager_acknowledge(juliet.manager, receipt) == OMEMO_ERR_NOT_FOUND);
  CHECK(omemo_manager_unacknowledged(juliet.manager, 0, &kept) == OMEMO_ERR_NOT_FOUND);
  omemo_decrypted *duplicate = decrypt(&juliet, xml);
  CHECK(omemo_decrypted_status(duplicate) == OMEMO_ERR_DUPLICATE && omemo_decrypted_receipt(duplicate) == 0);
  omemo_decrypted_free(duplicate);
  omemo_decrypted_free(first); /* what was given out lives as long as the client wants */
  free(xml);
  end_all(&romeo, &juliet, &store);
}

/* What an event may do. */
static uint64_t noted;

static void acknowledge_inside(struct account *account) {
  omemo_decrypted *kept = NULL;
  if (!noted) return;
  CHECK(omemo_manager_unacknowledged(account->manager, 0, &kept) == OMEMO_OK);
  CHECK(omemo_decrypted_receipt(kept) == noted);
  omemo_decrypted_free(kept);
  CHECK(omemo_manager_acknowledge(account->manager, noted) == OMEMO_OK);
  noted = 0;
}

static void events_may_list_and_acknowledge(void) {
  struct account romeo, juliet;
  struct store store;
  begin(&romeo, &juliet, &store);
  char *xml = sealed(&romeo);
  omemo_decrypted *first = decrypt(&juliet, xml);
  noted = omemo_decrypted_receipt(first);
  CHECK(noted != 0);
  juliet.in_question = acknowledge_inside;
  settle(&juliet, 0); /* the answer to the key exchange is sent */
  CHECK(noted == 0);
  omemo_decrypted_free(first);
  free(xml);
  end_all(&romeo, &juliet, &store);
}

static void wrong_calls_are_refused(void) {
  struct account romeo, juliet;
  struct store store;
  omemo_decrypted *kept = NULL;
  begin(&romeo, &juliet, &store);
  CHECK(omemo_manager_acknowledge(NULL, 1) == OMEMO_ERR_NULL);
  CHECK(omemo_manager_acknowledge(juliet.manager, 0) == OMEMO_ERR_NOT_FOUND);
  CHECK(omemo_manager_acknowledge(juliet.manager, UINT64_MAX) == OMEMO_ERR_NOT_FOUND);
  CHECK(omemo_manager_unacknowledged(NULL, 0, &kept) == OMEMO_ERR_NULL);
  CHECK(omemo_manager_unacknowledged(juliet.manager, 0, NULL) == OMEMO_ERR_NULL);
  CHECK(omemo_manager_unacknowledged(juliet.manager, UINT64_MAX, &kept) == OMEMO_ERR_NOT_FOUND && !kept);
  CHECK(omemo_decrypted_receipt(NULL) == 0 && !omemo_decrypted_room(NULL));
  /* Without the option there is no receipt. */
  char *xml = sealed(&romeo);
  juliet.acknowledge = false;
  restart(&juliet, &store);
  omemo_decrypted *first = decrypt(&juliet, xml);
  CHECK(omemo_decrypted_body(first) && omemo_decrypted_receipt(first) == 0);
  CHECK(omemo_manager_unacknowledged(juliet.manager, 0, &kept) == OMEMO_ERR_NOT_FOUND);
  omemo_decrypted_free(first);
  free(xml);
  end_all(&romeo, &juliet, &store);
}

unsigned contract_acknowledged(void) {
  run_in_both("content_outlives_the_process_until_it_is_acknowledged",
              content_outlives_the_process_until_it_is_acknowledged);
  run_in_both("events_may_list_and_acknowledge", events_may_list_and_acknowledge);
  run_in_both("wrong_calls_are_refused", wrong_calls_are_refused);
  server_wipe();
  return cases_failed;
}
