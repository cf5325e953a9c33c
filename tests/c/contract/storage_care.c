/* Stores as a whole: sealed, given another key, moved, checked. */
#include "contract.h"

static const uint8_t first_key[32] = {1}, second_key[32] = {2};

static omemo_storage *memory(void) {
  omemo_storage *storage = NULL;
  CHECK(omemo_storage_memory_new(&storage) == OMEMO_OK);
  return storage;
}

/* The sealed store, or NULL if that ends with a failure. Nothing is written to where the result goes then. */
static omemo_storage *seal(const omemo_storage *inner, const uint8_t *key, omemo_status expected) {
  omemo_storage *storage = NULL;
  CHECK(omemo_storage_sealed_open_key(inner, key, &storage) == expected);
  CHECK((storage != NULL) == (expected == OMEMO_OK));
  return storage;
}

static omemo_storage *seal_by_words(const omemo_storage *inner, const char *words, omemo_status expected) {
  omemo_storage *storage = NULL;
  CHECK(omemo_storage_sealed_open_passphrase(inner, words, strlen(words), &storage) == expected);
  CHECK((storage != NULL) == (expected == OMEMO_OK));
  return storage;
}

/* Opens Romeo's account in a store, and connects it where that succeeds. */
static void open_in(struct account *romeo, omemo_storage *storage, omemo_status expected) {
  memset(romeo, 0, sizeof *romeo);
  romeo->jid = ROMEO;
  romeo->storage = storage;
  omemo_config *config = account_config(romeo);
  CHECK(omemo_manager_new(config, &romeo->manager) == expected);
  CHECK((romeo->manager != NULL) == (expected == OMEMO_OK));
  CHECK(expected == OMEMO_OK || strlen(omemo_config_error(config)) > 0);
  omemo_config_free(config);
  if (romeo->manager) account_connect(romeo);
}

static void live_in(omemo_storage *storage) {
  struct account romeo;
  open_in(&romeo, storage, OMEMO_OK);
  account_free(&romeo);
}

static uint32_t device_id(const struct account *account) {
  uint32_t id = 0;
  CHECK(omemo_manager_device_id(account->manager, &id) == OMEMO_OK && id != 0);
  return id;
}

static void refuse(omemo_storage *storage, omemo_status expected) {
  struct account romeo;
  open_in(&romeo, storage, expected);
}

static bool contains(const struct record *record, const char *text) {
  size_t len = strlen(text);
  for (size_t i = 0; i + len <= record->len; i++)
    if (memcmp(record->value + i, text, len) == 0) return true;
  return false;
}

static void a_sealed_store_hides_what_it_keeps(void) {
  struct store store = {0};
  omemo_storage *inner = store_open(&store);
  omemo_storage *sealed = seal(inner, first_key, OMEMO_OK);
  omemo_storage_free(inner); /* the sealed store keeps it */
  live_in(sealed);
  CHECK(store.count > 4 && store.destroyed == 0);
  for (size_t i = 0; i < store.count; i++) {
    CHECK(!contains(&store.records[i], ROMEO) && strstr(store.records[i].key, "account") == NULL);
    CHECK(strncmp(store.records[i].key, "v1/sealed", 9) == 0 || strncmp(store.records[i].key, "s1/", 3) == 0);
  }
  omemo_storage_free(sealed);
  CHECK(store.destroyed == 1);
  /* Opened as it is, it neither looks empty nor becomes another account. */
  unsigned commits = store.commits;
  inner = store_open(&store);
  refuse(inner, OMEMO_ERR_STORAGE_KEY);
  seal(inner, second_key, OMEMO_ERR_STORAGE_KEY);
  seal_by_words(inner, "a", OMEMO_ERR_STORAGE_KEY);
  CHECK(store.commits == commits);
  sealed = seal(inner, first_key, OMEMO_OK);
  live_in(sealed);
  omemo_storage_free(sealed);
  omemo_storage_free(inner);
  store_wipe(&store);
}

static void a_new_key_takes_the_place_of_the_old_one(void) {
  omemo_storage *inner = memory();
  omemo_storage *sealed = seal(inner, first_key, OMEMO_OK);
  struct account romeo;
  open_in(&romeo, sealed, OMEMO_OK);
  /* A manager may have it open. */
  CHECK(omemo_storage_rekey_passphrase(sealed, "ay me", 5) == OMEMO_OK);
  account_free(&romeo);
  omemo_storage_free(sealed);
  seal(inner, first_key, OMEMO_ERR_STORAGE_KEY);
  seal_by_words(inner, "ay", OMEMO_ERR_STORAGE_KEY);
  sealed = seal_by_words(inner, "ay me", OMEMO_OK);
  live_in(sealed);
  CHECK(omemo_storage_rekey(sealed, second_key) == OMEMO_OK);
  omemo_storage_free(sealed);
  seal_by_words(inner, "ay me", OMEMO_ERR_STORAGE_KEY);
  sealed = seal(inner, second_key, OMEMO_OK);
  live_in(sealed);
  omemo_storage_free(sealed);
  omemo_storage_free(inner);
}

static void a_sealed_store_has_its_inner_one_for_itself(void) {
  omemo_storage *inner = memory(), *other = memory();
  omemo_storage *sealed = seal(inner, first_key, OMEMO_OK);
  refuse(inner, OMEMO_ERR_STORAGE_LOCKED);
  seal(inner, first_key, OMEMO_ERR_STORAGE_LOCKED);
  CHECK(omemo_storage_copy(inner, other) == OMEMO_ERR_STORAGE_LOCKED);
  omemo_result *result = NULL;
  CHECK(omemo_storage_check(inner, &result) == OMEMO_ERR_STORAGE_LOCKED && result == NULL);
  omemo_storage_free(sealed);
  refuse(inner, OMEMO_ERR_STORAGE_KEY);
  CHECK(omemo_storage_check(inner, &result) == OMEMO_ERR_STORAGE_KEY && result == NULL);
  CHECK(omemo_storage_copy(inner, other) == OMEMO_ERR_STORAGE_KEY);
  /* Nor may it be opened while a manager has it. */
  live_in(other);
  struct account romeo;
  open_in(&romeo, other, OMEMO_OK);
  seal(other, first_key, OMEMO_ERR_STORAGE_LOCKED);
  account_free(&romeo);
  omemo_storage_free(inner);
  omemo_storage_free(other);
}

static void what_cannot_be_sealed(void) {
  omemo_storage *inner = memory(), *used = memory(), *storage = NULL;
  char words[1025];
  memset(words, 'a', sizeof words);
  live_in(used);
  seal(used, first_key, OMEMO_ERR_STORAGE_NOT_EMPTY);
  live_in(used);
  CHECK(omemo_storage_sealed_open_key(NULL, first_key, &storage) == OMEMO_ERR_NULL);
  CHECK(omemo_storage_sealed_open_key(inner, NULL, &storage) == OMEMO_ERR_NULL);
  CHECK(omemo_storage_sealed_open_key(inner, first_key, NULL) == OMEMO_ERR_NULL);
  CHECK(omemo_storage_sealed_open_passphrase(inner, NULL, 1, &storage) == OMEMO_ERR_NULL);
  CHECK(omemo_storage_sealed_open_passphrase(inner, "", 0, &storage) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_storage_sealed_open_passphrase(inner, words, sizeof words, &storage) == OMEMO_ERR_LIMIT);
  CHECK(omemo_storage_rekey(inner, first_key) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_storage_rekey_passphrase(inner, "a", 1) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_storage_rekey(NULL, first_key) == OMEMO_ERR_NULL);
  CHECK(storage == NULL);
  omemo_storage *sealed = seal(inner, first_key, OMEMO_OK);
  seal(sealed, first_key, OMEMO_ERR_ARGUMENT); /* no seal over a seal */
  CHECK(omemo_storage_rekey(sealed, NULL) == OMEMO_ERR_NULL);
  CHECK(omemo_storage_rekey_passphrase(sealed, words, 0) == OMEMO_ERR_ARGUMENT);
  omemo_storage_free(sealed);
  omemo_storage_free(inner);
  omemo_storage_free(used);
}

static void an_account_moves_to_another_store(void) {
  omemo_storage *from = memory(), *inner = memory(), *third = memory();
  omemo_storage *to = seal(inner, first_key, OMEMO_OK);
  CHECK(omemo_storage_copy(from, to) == OMEMO_ERR_NOT_FOUND);
  live_in(from);
  CHECK(omemo_storage_copy(from, from) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_storage_copy(NULL, to) == OMEMO_ERR_NULL && omemo_storage_copy(from, NULL) == OMEMO_ERR_NULL);
  struct account romeo;
  open_in(&romeo, from, OMEMO_OK);
  uint32_t device = device_id(&romeo);
  CHECK(omemo_storage_copy(from, to) == OMEMO_ERR_STORAGE_LOCKED);
  account_free(&romeo);
  CHECK(omemo_storage_copy(from, to) == OMEMO_OK);
  refuse(from, OMEMO_ERR_STORAGE_ROLLBACK);
  open_in(&romeo, to, OMEMO_OK);
  CHECK(device_id(&romeo) == device);
  CHECK(omemo_storage_copy(from, to) == OMEMO_ERR_STORAGE_LOCKED);
  account_free(&romeo);
  CHECK(omemo_storage_copy(from, to) == OMEMO_OK); /* it was done before */
  CHECK(omemo_storage_copy(from, third) == OMEMO_ERR_STORAGE_ROLLBACK);
  live_in(third);
  CHECK(omemo_storage_copy(to, third) == OMEMO_ERR_STORAGE_NOT_EMPTY);
  live_in(to);
  omemo_storage_free(to);
  omemo_storage_free(from);
  omemo_storage_free(inner);
  omemo_storage_free(third);
}

static void a_copy_that_failed_is_made_again(void) {
  struct store store = {0};
  omemo_storage *from = memory(), *to = store_open(&store);
  live_in(from);
  store.fail = OMEMO_ERR_STORAGE;
  store.done_all_the_same = true;
  CHECK(omemo_storage_copy(from, to) == OMEMO_ERR_STORAGE);
  store.fail = OMEMO_OK;
  refuse(to, OMEMO_ERR_STORAGE_UNFINISHED);
  live_in(from);
  CHECK(omemo_storage_copy(from, to) == OMEMO_OK);
  refuse(from, OMEMO_ERR_STORAGE_ROLLBACK);
  live_in(to);
  omemo_storage_free(from);
  omemo_storage_free(to);
  store_wipe(&store);
}

static size_t findings(const omemo_storage *storage) {
  omemo_result *result = NULL;
  if (!CHECK(omemo_storage_check(storage, &result) == OMEMO_OK && result != NULL)) return 0;
  size_t count = omemo_result_row_count(result);
  CHECK(omemo_result_status(result) == OMEMO_OK && omemo_result_message_count(result) == 0);
  for (size_t i = 0; i < count; i++)
    CHECK(omemo_result_row_status(result, i) == OMEMO_ERR_STORAGE_CORRUPT &&
          strlen(omemo_result_row_detail(result, i)) > 0);
  omemo_result_free(result);
  return count;
}

static void a_check_finds_what_is_damaged(void) {
  struct store store = {0};
  omemo_storage *storage = store_open(&store);
  CHECK(findings(storage) == 0);
  live_in(storage);
  unsigned commits = store.commits;
  CHECK(findings(storage) == 0);
  for (size_t i = 0; i < store.count; i++) {
    struct record *record = &store.records[i];
    size_t len = record->len;
    record->len = len / 2;
    CHECK(findings(storage) > 0);
    record->len = len;
  }
  CHECK(findings(storage) == 0);
  CHECK(store.commits == commits); /* it repairs nothing */
  struct account romeo;
  omemo_result *result = NULL;
  open_in(&romeo, storage, OMEMO_OK);
  CHECK(omemo_storage_check(storage, &result) == OMEMO_ERR_STORAGE_LOCKED && result == NULL);
  account_free(&romeo);
  CHECK(omemo_storage_check(NULL, &result) == OMEMO_ERR_NULL && result == NULL);
  CHECK(omemo_storage_check(storage, NULL) == OMEMO_ERR_NULL);
  store.calls = 0;
  store.fail_call = 3; /* what cannot be read now may be all right */
  CHECK(omemo_storage_check(storage, &result) == OMEMO_ERR_STORAGE && result == NULL);
  omemo_storage_free(storage);
  store_wipe(&store);
}

static omemo_storage *used_inside, *free_inside;
static unsigned refusals;

static void come_in(struct account *account) {
  omemo_storage *storage = NULL;
  omemo_result *result = NULL;
  (void)account;
  CHECK(omemo_storage_sealed_open_key(free_inside, first_key, &storage) == OMEMO_ERR_BUSY);
  CHECK(omemo_storage_sealed_open_passphrase(free_inside, "a", 1, &storage) == OMEMO_ERR_BUSY);
  CHECK(omemo_storage_rekey(used_inside, first_key) == OMEMO_ERR_BUSY);
  CHECK(omemo_storage_rekey_passphrase(used_inside, "a", 1) == OMEMO_ERR_BUSY);
  CHECK(omemo_storage_copy(used_inside, free_inside) == OMEMO_ERR_BUSY);
  CHECK(omemo_storage_check(free_inside, &result) == OMEMO_ERR_BUSY);
  CHECK(storage == NULL && result == NULL);
  refusals++;
}

static void services_are_refused(void) {
  struct account romeo = {0};
  struct store store = {0};
  omemo_storage *inner = store_open(&store);
  free_inside = memory();
  used_inside = seal(inner, first_key, OMEMO_OK);
  store.account = &romeo;
  store.in_load = come_in;
  refusals = 0;
  romeo.jid = ROMEO;
  romeo.storage = used_inside;
  account_new(&romeo);
  CHECK(refusals > 0);
  account_free(&romeo);
  omemo_storage_free(used_inside);
  omemo_storage_free(free_inside);
  omemo_storage_free(inner);
  store_wipe(&store);
}

unsigned contract_storage_care(void) {
  RUN(a_sealed_store_hides_what_it_keeps);
  RUN(a_new_key_takes_the_place_of_the_old_one);
  RUN(a_sealed_store_has_its_inner_one_for_itself);
  RUN(what_cannot_be_sealed);
  RUN(an_account_moves_to_another_store);
  RUN(a_copy_that_failed_is_made_again);
  RUN(a_check_finds_what_is_damaged);
  RUN(services_are_refused);
  server_wipe();
  return cases_failed;
}
