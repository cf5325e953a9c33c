/* A world for test programs: a PEP server, a store, and accounts that answer at once or later, in any order. Everything
 * is `inline`, so that a program may leave parts of it alone.
 *
 * All of it is guarded by one mutex, which is never held while the library is called, so that accounts may live in
 * threads of their own. */
#ifndef WORLD_H
#define WORLD_H

#include <omemo.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static pthread_mutex_t world = PTHREAD_MUTEX_INITIALIZER;

static inline void *need(void *memory) {
  if (!memory) abort();
  return memory;
}

static inline char *copy(const char *text) {
  size_t size = strlen(text) + 1;
  return memcpy(need(malloc(size)), text, size);
}

/* -- the server: names of items and their XML -- */

struct item {
  char *name;
  char *xml;
};

static struct item *items;
static size_t item_count;

static inline void item_name(char *name, size_t size, const char *ns, const char *jid, uint32_t device) {
  snprintf(name, size, "%s %s %lu", ns, jid, (unsigned long)device);
}

/* A copy, or NULL. */
static inline char *server_get(const char *ns, const char *jid, uint32_t device) {
  char name[512];
  char *found = NULL;
  item_name(name, sizeof name, ns, jid, device);
  pthread_mutex_lock(&world);
  for (size_t i = 0; i < item_count; i++)
    if (strcmp(items[i].name, name) == 0) found = copy(items[i].xml);
  pthread_mutex_unlock(&world);
  return found;
}

static inline void server_put(const char *ns, const char *jid, uint32_t device, const char *xml) {
  char name[512];
  item_name(name, sizeof name, ns, jid, device);
  pthread_mutex_lock(&world);
  size_t at = 0;
  while (at < item_count && strcmp(items[at].name, name) != 0) at++;
  if (at == item_count) {
    items = need(realloc(items, (item_count + 1) * sizeof *items));
    items[item_count++] = (struct item){copy(name), NULL};
  }
  free(items[at].xml);
  items[at].xml = copy(xml);
  pthread_mutex_unlock(&world);
}

static inline void server_delete(const char *ns, const char *jid, uint32_t device) {
  char name[512];
  item_name(name, sizeof name, ns, jid, device);
  pthread_mutex_lock(&world);
  for (size_t i = 0; i < item_count; i++) {
    if (strcmp(items[i].name, name) != 0) continue;
    free(items[i].name);
    free(items[i].xml);
    items[i] = items[--item_count];
    break;
  }
  pthread_mutex_unlock(&world);
}

static inline void server_wipe(void) {
  for (size_t i = 0; i < item_count; i++) {
    free(items[i].name);
    free(items[i].xml);
  }
  free(items);
  items = NULL;
  item_count = 0;
}

/* -- questions -- */

enum kind { FETCH_LIST, FETCH_BUNDLE, PUBLISH_LIST, PUBLISH_BUNDLE, DELETE_BUNDLE, SEND_MESSAGE, DECIDE_TRUST };

struct question {
  enum kind kind;
  omemo_request request;
  char ns[64];
  char jid[128];
  uint32_t device;
  char *xml;     /* of a publish or a message */
  size_t count;  /* of the devices of decide_trust */
  char *context; /* of decide_trust */
};

struct account;
typedef void hook(struct account *account);

/* What the accounts of this world speak. */
static const char *world_ns = OMEMO_NS_2;

/* Runs a case in each namespace: "ok NAME", then "ok NAME_in_legacy". */
static inline void run_in_both(const char *name, void (*body)(void)) {
  char legacy[128];
  snprintf(legacy, sizeof legacy, "%s_in_legacy", name);
  run_case(name, body);
  world_ns = OMEMO_NS_LEGACY;
  run_case(legacy, body);
  world_ns = OMEMO_NS_2;
}

struct account {
  const char *jid;
  omemo_manager *manager;
  omemo_storage *storage; /* not owned */
  bool later;             /* questions wait for answer_all, instead of being answered in the callback */
  bool clock;             /* it has a clock of its own: now */
  bool acknowledge;       /* OMEMO_OPTION_ACKNOWLEDGE */
  bool lost_levels;       /* it knows no trust level any more */
  int64_t now;
  const char *level; /* what decide_trust answers; NULL: OMEMO_TRUST_LEVEL_NAME_TRUSTED */
  struct question *open;
  size_t open_count;
  unsigned asked, fetches, fetches_open_at_most, decided, withdrawn, notices, wakeups, evaluations, destroyed;
  unsigned events;   /* of all kinds */
  unsigned told[16]; /* notices of each kind */
  unsigned lines;    /* of the log */
  char line[256];    /* the last one */
  omemo_request last_withdrawn;
  hook *in_question, *in_withdrawn, *in_notify, *in_wakeup, *in_evaluate, *in_now, *in_log, *in_destroy;
  pthread_t event_thread;
  char *sent_to; /* whom the last message of the library went to, and which it was */
  char *sent_xml;
};

static inline void question_free(struct question *question) {
  free(question->xml);
  free(question->context);
}

static inline void call(struct account *account, hook *what) {
  if (what) what(account);
}

/* Answers a question as a server and a trusting user would. */
static inline omemo_status answer(struct account *account, const struct question *question) {
  omemo_status status = OMEMO_OK;
  char *xml = NULL;
  switch (question->kind) {
  case FETCH_LIST:
  case FETCH_BUNDLE:
    xml = server_get(question->ns, question->jid, question->device);
    if (xml) {
      status = omemo_request_resolve_xml(question->request, xml, strlen(xml));
      memset(xml, '?', strlen(xml)); /* inputs are copied */
    } else {
      status = omemo_request_reject(question->request, OMEMO_REJECT_NOT_FOUND);
    }
    free(xml);
    return status;
  case PUBLISH_LIST:
  case PUBLISH_BUNDLE:
    server_put(question->ns, account->jid, question->device, question->xml);
    return omemo_request_resolve(question->request);
  case DELETE_BUNDLE:
    server_delete(question->ns, account->jid, question->device);
    return omemo_request_resolve(question->request);
  case SEND_MESSAGE:
    return omemo_request_resolve(question->request);
  case DECIDE_TRUST:
    for (size_t i = 0; i < question->count; i++)
      omemo_request_decide(question->request, i, account->level ? account->level : OMEMO_TRUST_LEVEL_NAME_TRUSTED);
    return omemo_request_resolve(question->request);
  }
  return OMEMO_ERR_ARGUMENT;
}

static inline bool is_fetch(const struct question *question) {
  return question->kind == FETCH_LIST || question->kind == FETCH_BUNDLE;
}

static inline void event(struct account *account) {
  pthread_mutex_lock(&world);
  account->events++;
  account->event_thread = pthread_self();
  pthread_mutex_unlock(&world);
}

static inline void ask(struct account *account, struct question question) {
  event(account);
  pthread_mutex_lock(&world);
  account->asked++;
  if (is_fetch(&question)) account->fetches++;
  if (question.kind == DECIDE_TRUST) account->decided++;
  bool later = account->later;
  if (later) {
    unsigned open = is_fetch(&question) ? 1 : 0;
    for (size_t i = 0; i < account->open_count; i++) open += is_fetch(&account->open[i]) ? 1 : 0;
    if (open > account->fetches_open_at_most) account->fetches_open_at_most = open;
    account->open = need(realloc(account->open, (account->open_count + 1) * sizeof *account->open));
    account->open[account->open_count++] = question;
  }
  pthread_mutex_unlock(&world);
  call(account, account->in_question);
  if (!later) {
    answer(account, &question);
    question_free(&question);
  }
}

static inline struct question question(enum kind kind, omemo_request request, const char *ns, const char *jid,
                                       uint32_t device) {
  struct question question = {kind, request, "", "", device, NULL, 0, NULL};
  snprintf(question.ns, sizeof question.ns, "%s", ns ? ns : "");
  snprintf(question.jid, sizeof question.jid, "%s", jid ? jid : "");
  return question;
}

static inline void on_fetch_device_list(void *user_data, omemo_request request, const char *ns, const char *jid) {
  ask(user_data, question(FETCH_LIST, request, ns, jid, 0));
}

static inline void on_fetch_bundle(void *user_data, omemo_request request, const char *ns, const char *jid,
                                   uint32_t device) {
  ask(user_data, question(FETCH_BUNDLE, request, ns, jid, device));
}

static inline void on_publish_device_list(void *user_data, omemo_request request, const char *ns,
                                          const omemo_device_list *list) {
  struct question publish = question(PUBLISH_LIST, request, ns, NULL, 0);
  publish.xml = copy(omemo_device_list_xml(list, NULL));
  ask(user_data, publish);
}

static inline void on_publish_bundle(void *user_data, omemo_request request, const char *ns, uint32_t device,
                                     const omemo_bundle *bundle) {
  struct question publish = question(PUBLISH_BUNDLE, request, ns, NULL, device);
  publish.xml = copy(omemo_bundle_xml(bundle, NULL));
  ask(user_data, publish);
}

static inline void on_delete_bundle(void *user_data, omemo_request request, const char *ns, uint32_t device) {
  ask(user_data, question(DELETE_BUNDLE, request, ns, NULL, device));
}

static inline void on_send_message(void *user_data, omemo_request request, const char *jid,
                                   const omemo_message *message) {
  struct account *account = user_data;
  struct question send = question(SEND_MESSAGE, request, NULL, jid, 0);
  send.xml = copy(omemo_message_xml(message, NULL));
  free(account->sent_to);
  free(account->sent_xml);
  account->sent_to = copy(jid);
  account->sent_xml = copy(send.xml);
  ask(user_data, send);
}

static inline void on_decide_trust(void *user_data, omemo_request request, const omemo_devices *undecided,
                                   const char *context) {
  struct question decide = question(DECIDE_TRUST, request, NULL, omemo_devices_jid(undecided, 0), 0);
  decide.count = omemo_devices_count(undecided);
  if (context) decide.context = copy(context);
  ask(user_data, decide);
}

static inline void on_withdrawn(void *user_data, omemo_request request) {
  struct account *account = user_data;
  event(account);
  pthread_mutex_lock(&world);
  account->withdrawn++;
  account->last_withdrawn = request;
  for (size_t i = 0; i < account->open_count; i++)
    if (account->open[i].request == request) {
      question_free(&account->open[i]);
      account->open[i] = account->open[--account->open_count];
      break;
    }
  pthread_mutex_unlock(&world);
  CHECK(omemo_request_resolve(request) == OMEMO_ERR_STALE);
  call(account, account->in_withdrawn);
}

static inline void on_notify(void *user_data, omemo_notice notice, const char *ns, const char *jid, uint32_t device,
                             omemo_status status) {
  struct account *account = user_data;
  (void)ns, (void)jid, (void)device, (void)status;
  event(account);
  account->notices++;
  if (CHECK(notice > 0 && (size_t)notice < sizeof account->told / sizeof *account->told)) account->told[notice]++;
  call(account, account->in_notify);
}

static int32_t on_evaluate_trust(void *user_data, const omemo_devices *devices, size_t index) {
  struct account *account = user_data;
  const char *level = omemo_devices_trust_level_name(devices, index);
  account->evaluations++;
  call(account, account->in_evaluate);
  if (account->lost_levels) return OMEMO_ERR_UNKNOWN_TRUST_LEVEL;
  if (strcmp(level, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == 0) return OMEMO_CORE_TRUSTED;
  if (strcmp(level, OMEMO_TRUST_LEVEL_NAME_UNDECIDED) == 0) return OMEMO_CORE_UNDECIDED;
  if (strcmp(level, OMEMO_TRUST_LEVEL_NAME_DISTRUSTED) == 0) return OMEMO_CORE_DISTRUSTED;
  return OMEMO_ERR_UNKNOWN_TRUST_LEVEL;
}

static inline void on_wakeup(void *user_data) {
  struct account *account = user_data;
  pthread_mutex_lock(&world);
  account->wakeups++;
  pthread_mutex_unlock(&world);
  call(account, account->in_wakeup);
}

static int64_t on_now(void *user_data) {
  struct account *account = user_data;
  call(account, account->in_now);
  return account->now;
}

static inline void on_log(void *user_data, omemo_log_level level, const char *target, const char *line) {
  struct account *account = user_data;
  CHECK(level >= OMEMO_LOG_ERROR && level <= OMEMO_LOG_DEBUG && strncmp(target, "omemo", 5) == 0);
  CHECK(strchr(line, '@') == NULL); /* no JIDs */
  account->lines++;
  snprintf(account->line, sizeof account->line, "%s", line);
  call(account, account->in_log);
}

static inline void on_destroy(void *user_data) {
  struct account *account = user_data;
  account->destroyed++;
  call(account, account->in_destroy);
}

/* -- a store of callbacks -- */

struct store {
  struct record {
    char *key;
    uint8_t *value;
    size_t len;
  } * records;
  size_t count;
  unsigned loads, commits, destroyed;
  unsigned calls, fail_call; /* the how-manieth call of load or commit fails; 0: none */
  unsigned index_calls;      /* of the loads of the index, which are all alike, 1 of 32 counts */
  int32_t fail;              /* what commit returns instead of doing it; OMEMO_OK: it does it */
  bool done_all_the_same;    /* a commit that fails has happened nevertheless */
  struct account *account;
  hook *in_load, *in_commit, *in_destroy;
};

static int32_t store_load(void *user_data, const char *key, omemo_value *value) {
  struct store *store = user_data;
  store->loads++;
  call(store->account, store->in_load);
  bool counts = strncmp(key, "v1/index/", 9) != 0 || store->index_calls++ % 32 == 0;
  if (counts && ++store->calls == store->fail_call) return OMEMO_ERR_STORAGE;
  for (size_t i = 0; i < store->count; i++)
    if (strcmp(store->records[i].key, key) == 0) {
      CHECK(omemo_value_set(value, store->records[i].value, store->records[i].len) == OMEMO_OK);
      CHECK(omemo_value_set(value, store->records[i].value, store->records[i].len) == OMEMO_ERR_ARGUMENT);
    }
  return OMEMO_OK;
}

/* Values hold secrets: a store wipes what it forgets. */
static inline void record_free(struct record *record) {
  volatile uint8_t *value = record->value;
  for (size_t i = 0; i < record->len; i++) value[i] = 0;
  free(record->key);
  free(record->value);
}

static inline void store_delete(struct store *store, const char *key) {
  for (size_t i = 0; i < store->count; i++)
    if (strcmp(store->records[i].key, key) == 0) {
      record_free(&store->records[i]);
      store->records[i] = store->records[--store->count];
      return;
    }
}

static int32_t store_commit(void *user_data, const omemo_change *changes, size_t count) {
  struct store *store = user_data;
  store->commits++;
  call(store->account, store->in_commit);
  int32_t status = ++store->calls == store->fail_call ? OMEMO_ERR_STORAGE : store->fail;
  if (status != OMEMO_OK && !store->done_all_the_same) return status;
  for (size_t i = 0; i < count; i++) {
    CHECK(strlen(changes[i].key) <= 200 &&
          strspn(changes[i].key, "abcdefghijklmnopqrstuvwxyz0123456789/") == strlen(changes[i].key));
    store_delete(store, changes[i].key);
    if (!changes[i].value) continue;
    uint8_t *value = need(malloc(changes[i].value_len + 1));
    memcpy(value, changes[i].value, changes[i].value_len);
    store->records = need(realloc(store->records, (store->count + 1) * sizeof *store->records));
    store->records[store->count++] = (struct record){copy(changes[i].key), value, changes[i].value_len};
  }
  return status;
}

static inline void store_destroy(void *user_data) {
  struct store *store = user_data;
  store->destroyed++;
  call(store->account, store->in_destroy);
}

static inline void store_wipe(struct store *store) {
  for (size_t i = 0; i < store->count; i++) record_free(&store->records[i]);
  free(store->records);
  store->records = NULL;
  store->count = 0;
}

static inline omemo_storage *store_open(struct store *store) {
  static const omemo_storage_callbacks callbacks = {sizeof(omemo_storage_callbacks), store_load, store_commit};
  omemo_storage *storage = NULL;
  CHECK(omemo_storage_callbacks_new(&callbacks, store, store_destroy, &storage) == OMEMO_OK);
  return storage;
}

/* -- accounts -- */

static inline omemo_callbacks account_callbacks(const struct account *account) {
  omemo_callbacks callbacks;
  memset(&callbacks, 0, sizeof callbacks);
  callbacks.struct_size = sizeof callbacks;
  callbacks.fetch_device_list = on_fetch_device_list;
  callbacks.fetch_bundle = on_fetch_bundle;
  callbacks.publish_device_list = on_publish_device_list;
  callbacks.publish_bundle = on_publish_bundle;
  callbacks.delete_bundle = on_delete_bundle;
  callbacks.send_message = on_send_message;
  callbacks.decide_trust = on_decide_trust;
  callbacks.request_withdrawn = on_withdrawn;
  callbacks.notify = on_notify;
  callbacks.evaluate_trust = on_evaluate_trust;
  callbacks.wakeup = on_wakeup;
  if (account->clock) callbacks.now = on_now;
  return callbacks;
}

/* A configuration with everything; storage NULL: in memory. */
static inline omemo_config *account_config(struct account *account) {
  omemo_config *config = omemo_config_new();
  omemo_callbacks callbacks = account_callbacks(account);
  omemo_storage *storage = NULL;
  CHECK(omemo_config_set_jid(config, account->jid) == OMEMO_OK);
  CHECK(omemo_config_set_namespaces(config, &world_ns, 1) == OMEMO_OK);
  CHECK(omemo_config_set_callbacks(config, &callbacks, account, on_destroy) == OMEMO_OK);
  memset(&callbacks, 0xff, sizeof callbacks); /* inputs are copied */
  CHECK(omemo_config_set_log(config, OMEMO_LOG_DEBUG, on_log, account, NULL) == OMEMO_OK);
  CHECK(omemo_config_set_option(config, OMEMO_OPTION_ACKNOWLEDGE, account->acknowledge) == OMEMO_OK);
  if (account->storage) {
    CHECK(omemo_config_set_storage(config, account->storage) == OMEMO_OK);
  } else {
    CHECK(omemo_storage_memory_new(&storage) == OMEMO_OK);
    CHECK(omemo_config_set_storage(config, storage) == OMEMO_OK);
    omemo_storage_free(storage);
  }
  return config;
}

static inline void account_new(struct account *account) {
  omemo_config *config = account_config(account);
  if (!CHECK(omemo_manager_new(config, &account->manager) == OMEMO_OK)) printf("# %s\n", omemo_config_error(config));
  omemo_config_free(config);
}

/* Answers all open questions; order 0: as they were asked, 1: the other way round, else: a shuffle that it names. */
static inline void answer_all(struct account *account, unsigned order) {
  pthread_mutex_lock(&world);
  struct question *open = account->open;
  size_t count = account->open_count;
  account->open = NULL;
  account->open_count = 0;
  pthread_mutex_unlock(&world);
  unsigned random = order * 2654435761u;
  while (count > 0) {
    random = random * 1664525u + 1013904223u;
    size_t at = order == 0 ? 0 : order == 1 ? count - 1 : (random >> 8) % count;
    answer(account, &open[at]);
    question_free(&open[at]);
    memmove(&open[at], &open[at + 1], (count - at - 1) * sizeof *open);
    count--;
  }
  free(open);
}

/* Runs and answers until nothing moves. */
static inline void settle(struct account *account, unsigned order) {
  do {
    omemo_status status = omemo_manager_run(account->manager);
    CHECK(status == OMEMO_OK);
    if (status != OMEMO_OK) return;
    answer_all(account, order);
  } while (omemo_manager_timeout(account->manager) == 0);
}

static inline void forget_open(struct account *account) {
  for (size_t i = 0; i < account->open_count; i++) question_free(&account->open[i]);
  free(account->open);
  account->open = NULL;
  account->open_count = 0;
}

/* Frees the manager and what the account holds. */
static inline void account_free(struct account *account) {
  unsigned destroyed = account->destroyed;
  omemo_manager_free(account->manager);
  CHECK(account->destroyed == destroyed + 1);
  account->manager = NULL;
  forget_open(account);
  free(account->sent_to);
  free(account->sent_xml);
  account->sent_to = account->sent_xml = NULL;
}

/* -- ends of operations -- */

struct end {
  unsigned calls;
  omemo_op op;
  omemo_status status;
  size_t rows, messages;
  unsigned when; /* the how-manieth end of all it was */
  struct account *account;
  hook *in_done;
  char *xml; /* of the first message */
};

static unsigned ends;

static inline void on_done(void *user_data, omemo_op op, omemo_status status, const omemo_result *result) {
  struct end *end = user_data;
  CHECK(op != 0 && result != NULL && omemo_result_status(result) == status && omemo_result_detail(result) != NULL);
  end->calls++;
  end->op = op;
  end->status = status;
  end->rows = omemo_result_row_count(result);
  end->messages = omemo_result_message_count(result);
  if (end->messages > 0) {
    free(end->xml);
    end->xml = copy(omemo_message_xml(omemo_result_message(result, 0), NULL));
  }
  pthread_mutex_lock(&world);
  end->when = ++ends;
  pthread_mutex_unlock(&world);
  if (end->account) {
    event(end->account);
    call(end->account, end->in_done);
  }
}

static inline omemo_draft *draft_to(const char *jid, const char *text) {
  omemo_draft *draft = omemo_draft_new();
  CHECK(omemo_draft_add_recipient(draft, jid) == OMEMO_OK);
  CHECK(omemo_draft_set_body(draft, text) == OMEMO_OK);
  return draft;
}

/* Starts to encrypt to one JID. */
static inline omemo_status encrypt(struct account *account, const char *jid, omemo_done done, struct end *end,
                                   omemo_op *op) {
  omemo_draft *draft = draft_to(jid, "Ay me!");
  omemo_status status = omemo_manager_encrypt(account->manager, draft, done, end, op);
  omemo_draft_free(draft); /* inputs are copied */
  return status;
}

/* Connects, and answers everything at once. */
static inline void account_connect(struct account *account) {
  bool later = account->later;
  struct end end;
  memset(&end, 0, sizeof end);
  account->later = false;
  CHECK(omemo_manager_connected(account->manager, OMEMO_CATCH_UP_NONE, on_done, &end, NULL) == OMEMO_OK);
  settle(account, 0);
  CHECK(end.calls == 1 && end.status == OMEMO_OK);
  account->later = later;
}

#endif
