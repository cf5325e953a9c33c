/* What a store must bear witness to: one commit for each call, nothing handed out that was not committed, nothing
 * changed by what is refused, and a failure at any call of load or commit that costs no message. */
#define _POSIX_C_SOURCE 200809L
#include "world.h"

#define ROMEO "romeo@montague.example"
#define JULIET "juliet@capulet.example"

/* Two accounts, each with a store of callbacks. */
struct side {
  struct account account;
  struct store store;
};

static struct side sides[2];
static struct side *const romeo = &sides[0], *const juliet = &sides[1];

static omemo_status side_open(struct side *side) {
  omemo_storage *storage = store_open(&side->store);
  side->account.storage = storage;
  omemo_config *config = account_config(&side->account);
  side->account.manager = NULL;
  omemo_status status = omemo_manager_new(config, &side->account.manager);
  CHECK((status == OMEMO_OK) == (side->account.manager != NULL));
  omemo_config_free(config);
  omemo_storage_free(storage);
  side->account.storage = NULL;
  return status;
}

static void side_prepare(struct side *side, const char *jid) {
  memset(side, 0, sizeof *side);
  side->account.jid = jid;
  side->store.account = &side->account;
  side->account.clock = true;
  side->account.now = 1700000000000;
}

static void side_close(struct side *side) {
  if (side->account.manager) account_free(&side->account);
  store_wipe(&side->store);
}

static void both_connected(void) {
  server_wipe();
  side_prepare(romeo, ROMEO);
  side_prepare(juliet, JULIET);
  for (size_t i = 0; i < 2; i++) {
    CHECK(side_open(&sides[i]) == OMEMO_OK);
    account_connect(&sides[i].account);
  }
}

static void both_closed(void) {
  side_close(romeo);
  side_close(juliet);
  server_wipe();
}

/* A copy of all that a store holds. */
static struct store store_copy(const struct store *store) {
  struct store copied;
  memset(&copied, 0, sizeof copied);
  copied.count = store->count;
  copied.records = need(malloc((store->count + 1) * sizeof *copied.records));
  for (size_t i = 0; i < store->count; i++) {
    copied.records[i] = store->records[i];
    copied.records[i].key = copy(store->records[i].key);
    copied.records[i].value = need(malloc(store->records[i].len + 1));
    memcpy(copied.records[i].value, store->records[i].value, store->records[i].len);
  }
  return copied;
}

static bool store_equal(const struct store *a, const struct store *b) {
  if (a->count != b->count) return false;
  for (size_t i = 0; i < a->count; i++) {
    bool found = false;
    for (size_t j = 0; j < b->count && !found; j++)
      found = strcmp(a->records[i].key, b->records[j].key) == 0 && a->records[i].len == b->records[j].len &&
              memcmp(a->records[i].value, b->records[j].value, a->records[i].len) == 0;
    if (!found) return false;
  }
  return true;
}

/* Encrypts; the XML of the message, or NULL. */
static char *write_to(struct side *from, const char *jid, const char *text, omemo_status *status) {
  omemo_draft *draft = draft_to(jid, text);
  omemo_op op = 0;
  char *xml = NULL;
  *status = omemo_manager_encrypt(from->account.manager, draft, NULL, NULL, &op);
  omemo_draft_free(draft);
  if (*status != OMEMO_OK) return NULL;
  omemo_result *result = omemo_manager_wait(from->account.manager, op, 10000);
  *status = omemo_result_status(result);
  CHECK((omemo_result_message_count(result) > 0) == (*status == OMEMO_OK));
  if (*status == OMEMO_OK) xml = copy(omemo_message_xml(omemo_result_message(result, 0), NULL));
  omemo_result_free(result);
  return xml;
}

static char *write_well(struct side *from, const char *jid, const char *text) {
  omemo_status status = OMEMO_OK;
  char *xml = write_to(from, jid, text, &status);
  CHECK(status == OMEMO_OK && xml);
  return xml ? xml : copy("");
}

/* The status of the call; the text that was read, if any, is compared. */
static omemo_status read_it(struct side *to, const char *from, const char *xml, const char *text, omemo_status *inner) {
  omemo_decrypted *decrypted = (omemo_decrypted *)&sides; /* stays as it is if the call fails */
  omemo_status status = omemo_manager_decrypt_xml(to->account.manager, from, NULL, xml, strlen(xml), &decrypted);
  *inner = OMEMO_OK;
  if (status != OMEMO_OK) {
    CHECK(decrypted == (omemo_decrypted *)&sides);
    return status;
  }
  *inner = omemo_decrypted_status(decrypted);
  const char *body = omemo_decrypted_body(decrypted);
  if (*inner == OMEMO_OK && *text) CHECK(body && strcmp(body, text) == 0);
  else CHECK(body == NULL && omemo_decrypted_plaintext(decrypted, NULL) == NULL);
  omemo_decrypted_free(decrypted);
  return OMEMO_OK;
}

static void read_well(struct side *to, const char *from, const char *xml, const char *text) {
  omemo_status inner;
  CHECK(read_it(to, from, xml, text, &inner) == OMEMO_OK && inner == OMEMO_OK);
}

/* Both have sessions, and nothing is left to be done. */
static void both_acquainted(void) {
  both_connected();
  for (int i = 0; i < 2; i++) {
    struct side *from = &sides[i], *to = &sides[1 - i];
    char *xml = write_well(from, to->account.jid, "How now?");
    read_well(to, from->account.jid, xml, "How now?");
    settle(&to->account, 0);
    free(xml);
  }
  settle(&romeo->account, 0);
  settle(&juliet->account, 0);
}

static void an_encryption_is_one_commit(void) {
  both_acquainted();
  for (int i = 0; i < 3; i++) {
    unsigned before = romeo->store.commits;
    char *xml = write_well(romeo, JULIET, "Is the day so young?");
    CHECK(romeo->store.commits == before + 1);
    before = juliet->store.commits;
    read_well(juliet, ROMEO, xml, "Is the day so young?");
    CHECK(juliet->store.commits == before + 1); /* and so is a decryption */
    free(xml);
  }
  both_closed();
}

static void nothing_is_handed_out_before_it_is_committed(void) {
  both_acquainted();
  struct store before = store_copy(&romeo->store);
  omemo_status status;
  romeo->store.fail = OMEMO_ERR_STORAGE;
  for (int i = 0; i < 3; i++) {
    char *xml = write_to(romeo, JULIET, "But new struck nine.", &status);
    CHECK(status == OMEMO_ERR_STORAGE && !xml && store_equal(&before, &romeo->store));
  }
  romeo->store.fail = OMEMO_OK;
  char *xml = write_well(romeo, JULIET, "But new struck nine.");
  CHECK(!store_equal(&before, &romeo->store));
  store_wipe(&before);

  before = store_copy(&juliet->store);
  juliet->store.fail = OMEMO_ERR_STORAGE;
  for (int i = 0; i < 3; i++) {
    omemo_status inner;
    CHECK(read_it(juliet, ROMEO, xml, "", &inner) == OMEMO_ERR_STORAGE && store_equal(&before, &juliet->store));
  }
  juliet->store.fail = OMEMO_OK;
  read_well(juliet, ROMEO, xml, "But new struck nine.");
  store_wipe(&before);
  free(xml);
  both_closed();
}

/* A commit that was reported as failed may have happened: then the message is lost for us, never read twice. */
static void a_commit_may_have_happened_all_the_same(void) {
  both_acquainted();
  omemo_status status, inner;
  romeo->store.fail = OMEMO_ERR_STORAGE;
  romeo->store.done_all_the_same = true;
  char *xml = write_to(romeo, JULIET, "Ay me!", &status);
  CHECK(status == OMEMO_ERR_STORAGE && !xml);
  romeo->store.fail = OMEMO_OK;
  xml = write_well(romeo, JULIET, "Sad hours seem long."); /* the key of the first was used: juliet skips it */
  juliet->store.fail = OMEMO_ERR_STORAGE;
  juliet->store.done_all_the_same = true;
  CHECK(read_it(juliet, ROMEO, xml, "", &inner) == OMEMO_ERR_STORAGE);
  juliet->store.fail = OMEMO_OK;
  CHECK(read_it(juliet, ROMEO, xml, "Sad hours seem long.", &inner) == OMEMO_OK && inner == OMEMO_ERR_DUPLICATE);
  free(xml);
  xml = write_well(romeo, JULIET, "Out.");
  read_well(juliet, ROMEO, xml, "Out.");
  free(xml);
  both_closed();
}

/* What is refused leaves the store as it was, to the byte, and makes no commit. */
static void what_is_refused_changes_nothing(void) {
  both_acquainted();
  char *xml = write_well(romeo, JULIET, "Of love?");
  read_well(juliet, ROMEO, xml, "Of love?");
  settle(&juliet->account, 0);
  char *next = write_well(romeo, JULIET, "Out of her favour.");
  char *broken = copy(next);
  char *payload = strstr(broken, "<payload>");
  char *key = strstr(broken, "<key ");
  CHECK(payload && key);
  struct store before = store_copy(&juliet->store);
  unsigned commits = juliet->store.commits;
  omemo_status inner;
  CHECK(read_it(juliet, ROMEO, xml, "", &inner) == OMEMO_OK && inner == OMEMO_ERR_DUPLICATE);
  CHECK(read_it(juliet, ROMEO, "<encrypted", "", &inner) == OMEMO_OK && inner == OMEMO_ERR_MALFORMED);
  CHECK(read_it(juliet, "tybalt@capulet.example", next, "", &inner) == OMEMO_OK && inner != OMEMO_OK);
  for (size_t i = 0; payload && i < 40 && payload[9 + i + 3] != '<' && payload[9 + i + 3] != '=';
       i += 3) { /* another letter of base64, another message */
    char was = payload[9 + i];
    payload[9 + i] = was == 'A' ? 'B' : 'A';
    CHECK(read_it(juliet, ROMEO, broken, "", &inner) == OMEMO_OK && inner == OMEMO_ERR_DECRYPTION_FAILED);
    payload[9 + i] = was;
  }
  char *value = key ? strchr(key, '>') : NULL;
  for (size_t i = 1; value && i < 40; i += 3) {
    char was = value[i];
    value[i] = was == 'A' ? 'B' : 'A';
    CHECK(read_it(juliet, ROMEO, broken, "", &inner) == OMEMO_OK && inner != OMEMO_OK);
    value[i] = was;
  }
  CHECK(juliet->store.commits == commits && store_equal(&before, &juliet->store));
  read_well(juliet, ROMEO, next, "Out of her favour."); /* the true one is not spoilt by all that */
  store_wipe(&before);
  free(broken);
  free(next);
  free(xml);
  both_closed();
}

static void answers_are_committed_by_run(void) {
  struct end end;
  memset(&end, 0, sizeof end);
  both_connected();
  romeo->account.later = true;
  CHECK(encrypt(&romeo->account, JULIET, on_done, &end, NULL) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo->account.manager) == OMEMO_OK);
  CHECK(romeo->account.open_count == 1);
  unsigned before = romeo->store.commits;
  romeo->store.fail = OMEMO_ERR_STORAGE;
  if (romeo->account.open_count == 1) CHECK(answer(&romeo->account, &romeo->account.open[0]) == OMEMO_OK);
  CHECK(romeo->store.commits == before && end.calls == 0);
  forget_open(&romeo->account);
  settle(&romeo->account, 0);
  CHECK(romeo->store.commits > before && end.calls == 1 && end.status == OMEMO_ERR_STORAGE);
  romeo->store.fail = OMEMO_OK;
  romeo->account.later = false;
  CHECK(encrypt(&romeo->account, JULIET, on_done, &end, NULL) == OMEMO_OK);
  settle(&romeo->account, 0);
  CHECK(end.calls == 2 && end.status == OMEMO_OK);
  free(end.xml);
  both_closed();
}

static void setters_are_one_commit_or_nothing(void) {
  both_acquainted();
  omemo_devices *devices = NULL;
  size_t len = 0;
  CHECK(omemo_manager_devices(romeo->account.manager, JULIET, &devices) == OMEMO_OK);
  const uint8_t *key = omemo_devices_identity_key(devices, 0, &len);
  omemo_device_list *list = omemo_device_list_new(world_ns);
  CHECK(omemo_device_list_add(list, 77, NULL, NULL) == OMEMO_OK);
  struct store before = store_copy(&romeo->store);
  omemo_manager *m = romeo->account.manager;
  romeo->store.fail = OMEMO_ERR_STORAGE;
  CHECK(omemo_manager_set_trust(m, JULIET, key, len, OMEMO_TRUST_LEVEL_NAME_DISTRUSTED) == OMEMO_ERR_STORAGE);
  CHECK(omemo_manager_update_device_list(m, JULIET, list) == OMEMO_ERR_STORAGE);
  CHECK(store_equal(&before, &romeo->store));
  char *xml = NULL;
  omemo_status status;
  romeo->store.fail = OMEMO_OK;
  xml = write_to(romeo, JULIET, "Trust is as it was.", &status);
  CHECK(status == OMEMO_OK);
  free(xml);
  unsigned commits = romeo->store.commits;
  CHECK(omemo_manager_set_trust(m, JULIET, key, len, OMEMO_TRUST_LEVEL_NAME_DISTRUSTED) == OMEMO_OK);
  CHECK(romeo->store.commits == commits + 1);
  CHECK(omemo_manager_update_device_list(m, JULIET, list) == OMEMO_OK);
  CHECK(romeo->store.commits == commits + 2);
  omemo_device_list_free(list);
  omemo_devices_free(devices);
  store_wipe(&before);
  both_closed();
}

/* -- each call of the store fails once -- */

static unsigned faults;

/* Again until it goes well: the store fails once only. */
#define AGAIN(call)                                                                                                    \
  do {                                                                                                                 \
    omemo_status again = (call);                                                                                       \
    if (again == OMEMO_OK) break;                                                                                      \
    if (!CHECK(again == OMEMO_ERR_STORAGE)) {                                                                          \
      printf("# %s: %s\n", #call, omemo_status_name(again));                                                           \
      return false;                                                                                                    \
    }                                                                                                                  \
    faults++;                                                                                                          \
  } while (true)

static omemo_status connect_once(struct side *side) {
  omemo_op op = 0;
  omemo_status status = omemo_manager_connected(side->account.manager, OMEMO_CATCH_UP_NONE, NULL, NULL, &op);
  if (status != OMEMO_OK) return status;
  omemo_result *result = omemo_manager_wait(side->account.manager, op, 10000);
  status = omemo_result_status(result);
  omemo_result_free(result);
  return status;
}

static omemo_status write_once(struct side *from, const char *to, const char *text, char **xml) {
  omemo_status status;
  *xml = write_to(from, to, text, &status);
  return status;
}

static omemo_status read_once(struct side *to, const char *from, const char *xml, const char *text) {
  omemo_status inner = OMEMO_OK, status = read_it(to, from, xml, text, &inner);
  CHECK(status != OMEMO_OK || inner == OMEMO_OK);
  return status;
}

static uint32_t romeo_device(void) {
  omemo_devices *own = NULL;
  uint32_t device = 0;
  for (int i = 0; i < 2 && !own; i++)
    if (omemo_manager_devices(romeo->account.manager, NULL, &own) == OMEMO_OK) device = omemo_devices_id(own, 0);
  omemo_devices_free(own);
  return device;
}

/* Time passes, so that what failed is tried again. */
static void live_on(struct side *side) {
  for (int i = 0; i < 3; i++) {
    settle(&side->account, 0);
    side->account.now += 400000;
  }
  settle(&side->account, 0);
}

/* Romeo's whole life so far; he begins, or juliet does, and he has to answer. */
static bool live(bool begins) {
  char *xml = NULL;
  AGAIN(side_open(romeo));
  AGAIN(connect_once(romeo));
  if (begins) {
    AGAIN(write_once(romeo, JULIET, "one", &xml));
    read_well(juliet, ROMEO, xml, "one");
    free(xml);
    settle(&juliet->account, 0);
    if (!CHECK(juliet->account.sent_xml != NULL)) return false;
    AGAIN(read_once(romeo, JULIET, juliet->account.sent_xml, ""));
    live_on(romeo);
  } else {
    char *bundle = server_get(world_ns, ROMEO, romeo_device());
    xml = write_well(juliet, ROMEO, "one");
    AGAIN(read_once(romeo, JULIET, xml, "one"));
    free(xml);
    live_on(romeo);
    char *renewed = server_get(world_ns, ROMEO, romeo_device());
    CHECK(bundle && renewed && strcmp(bundle, renewed) != 0); /* the pre key that was used is replaced */
    free(bundle);
    free(renewed);
    if (!CHECK(romeo->account.sent_xml != NULL)) return false;
    read_well(juliet, ROMEO, romeo->account.sent_xml, "");
  }
  for (int i = 0; i < 3; i++) {
    xml = write_well(juliet, ROMEO, "two");
    AGAIN(read_once(romeo, JULIET, xml, "two"));
    free(xml);
    AGAIN(write_once(romeo, JULIET, "three", &xml));
    read_well(juliet, ROMEO, xml, "three");
    free(xml);
  }
  live_on(romeo);
  account_free(&romeo->account);
  AGAIN(side_open(romeo));
  AGAIN(connect_once(romeo));
  AGAIN(write_once(romeo, JULIET, "four", &xml));
  read_well(juliet, ROMEO, xml, "four");
  free(xml);
  live_on(romeo);
  return true;
}

static void juliet_lives(void) {
  server_wipe();
  side_prepare(romeo, ROMEO);
  side_prepare(juliet, JULIET);
  CHECK(side_open(juliet) == OMEMO_OK);
  account_connect(&juliet->account);
}

static void a_failure_anywhere(bool begins) {
  faults = 0;
  juliet_lives();
  CHECK(live(begins));
  unsigned calls = romeo->store.calls;
  CHECK(calls > 40 && faults == 0);
  both_closed();
  for (unsigned fail = 1; fail <= calls; fail++) {
    juliet_lives();
    romeo->store.fail_call = fail;
    bool failed_before = case_failed;
    case_failed = false;
    CHECK(live(begins));
    CHECK(romeo->store.calls > fail);
    if (case_failed) printf("# after a failure of call %u of %u\n", fail, calls);
    case_failed = case_failed || failed_before;
    both_closed();
  }
  printf("# %u calls of the store, each failed once; %u of them were told by a status\n", calls, faults);
  CHECK(faults > calls / 4);
}

static void a_failure_anywhere_costs_no_message(void) {
  a_failure_anywhere(true);
}

static void a_failure_anywhere_costs_no_answer(void) {
  a_failure_anywhere(false);
}

/* -- records that are not what they were -- */

static void damage(struct store *store, size_t at, int how) {
  struct record *record = &store->records[at];
  switch (how) {
  case 0:
    record->len = record->len / 2;
    break;
  case 1:
    record->len = 0;
    break;
  case 2:
    for (size_t i = 0; i < record->len; i++) record->value[i] ^= 0xff;
    break;
  case 3:
    if (record->len > 0) record->value[0] ^= 0x08;
    break;
  case 4:
    if (record->len > 0) record->value[record->len - 1] ^= 0x80;
    break;
  default:
    store_delete(store, record->key);
  }
}

/* Whatever a record holds, the answer is a status, and never a new identity beside old state. */
static void damaged_records_are_told(void) {
  unsigned corrupt = 0;
  both_acquainted();
  account_free(&romeo->account);
  struct store whole = store_copy(&romeo->store);
  char *xml = write_well(juliet, ROMEO, "It is my lady.");
  size_t count = whole.count;
  for (size_t at = 0; at < count; at++)
    for (int how = 0; how < 6; how++) {
      store_wipe(&romeo->store);
      struct store damaged = store_copy(&whole);
      romeo->store.records = damaged.records;
      romeo->store.count = damaged.count;
      damage(&romeo->store, at, how);
      omemo_status status = side_open(romeo), inner;
      if (status == OMEMO_OK) {
        status = connect_once(romeo);
        if (status == OMEMO_OK) {
          char *written = write_to(romeo, JULIET, "O, it is my love!", &status);
          free(written);
        }
        (void)read_it(romeo, JULIET, xml, "It is my lady.", &inner);
        account_free(&romeo->account);
      }
      if (status == OMEMO_ERR_STORAGE_CORRUPT) corrupt++;
      CHECK(status != OMEMO_ERR_INTERNAL);
    }
  printf("# %u of %zu damages were found in the store\n", corrupt, 6 * count);
  CHECK(corrupt > count);
  free(xml);
  store_wipe(&whole);
  both_closed();
}

#define RUN(name) run_in_both(#name, name)

int main(void) {
  RUN(an_encryption_is_one_commit);
  RUN(nothing_is_handed_out_before_it_is_committed);
  RUN(a_commit_may_have_happened_all_the_same);
  RUN(what_is_refused_changes_nothing);
  RUN(answers_are_committed_by_run);
  RUN(setters_are_one_commit_or_nothing);
  RUN(a_failure_anywhere_costs_no_message);
  RUN(a_failure_anywhere_costs_no_answer);
  RUN(damaged_records_are_told);
  return cases_failed == 0 ? 0 : 1;
}
