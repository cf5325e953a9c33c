/* What a client may do with its own memory: inside a service it frees and overwrites everything that it has given to
 * the call around the service; in a destroy it calls the object whose setter, or whose free function, runs the destroy.
 *
 * Each call is made once for each kind of service, with the account opened anew, so that the call reads the store. What
 * is freed too early shows as a wrong result here, and as a read of freed memory under valgrind and AddressSanitizer.
 */
#define _POSIX_C_SOURCE 200809L
#include "world.h"

#define ROMEO "romeo@montague.example"
#define JULIET "juliet@capulet.example"
#define TYBALT "tybalt@capulet.example"

static struct account romeo, juliet;
static struct store store;
static uint32_t juliet_id;
static uint8_t juliet_key[32];

/* -- what the client has given to a call, and the services in which it lets go of it -- */

static struct {
  char *jid, *ns, *level, *xml;
  uint8_t *key;
  omemo_draft *draft;
  omemo_device_list *list;
  omemo_bundle *bundle;
  omemo_message *message;
  omemo_config *config;
} held;

static void text_free(char *text) {
  if (text) memset(text, '?', strlen(text));
  free(text);
}

static void let_go(void) {
  text_free(held.jid);
  text_free(held.ns);
  text_free(held.level);
  text_free(held.xml);
  if (held.key) memset(held.key, 0, 32);
  free(held.key);
  omemo_draft_free(held.draft);
  omemo_device_list_free(held.list);
  omemo_bundle_free(held.bundle);
  omemo_message_free(held.message);
  omemo_config_free(held.config);
  memset(&held, 0, sizeof held);
}

static void hold_key(const uint8_t *key) {
  held.key = memcpy(need(malloc(32)), key, 32);
}

enum service { NOW, EVALUATE, LOG, WAKEUP, LOAD, COMMIT, SERVICES };
static enum service armed = SERVICES;
static bool let_go_inside;

static void inside(enum service service) {
  if (armed != service) return;
  armed = SERVICES;
  let_go_inside = true;
  let_go();
}

/* A service that may be armed. */
#define SERVICE(name, service)                                                                                         \
  static void name(struct account *account) {                                                                          \
    (void)account;                                                                                                     \
    inside(service);                                                                                                   \
  }

SERVICE(in_now, NOW)
SERVICE(in_evaluate, EVALUATE)
SERVICE(in_log, LOG)
SERVICE(in_wakeup, WAKEUP)
SERVICE(in_load, LOAD)
SERVICE(in_commit, COMMIT)

/* -- the accounts: romeo makes the calls -- */

static void start(void) {
  omemo_devices *devices = NULL;
  memset(&romeo, 0, sizeof romeo);
  memset(&juliet, 0, sizeof juliet);
  memset(&store, 0, sizeof store);
  server_wipe();
  romeo.jid = ROMEO;
  romeo.clock = true;
  romeo.now = 1700000000000;
  romeo.in_now = in_now;
  romeo.in_evaluate = in_evaluate;
  romeo.in_log = in_log;
  romeo.in_wakeup = in_wakeup;
  romeo.storage = store_open(&store);
  store.in_load = in_load;
  store.in_commit = in_commit;
  account_new(&romeo);
  account_connect(&romeo);
  juliet.jid = JULIET;
  juliet.clock = true;
  juliet.now = romeo.now;
  account_new(&juliet);
  account_connect(&juliet);
  CHECK(omemo_manager_devices(juliet.manager, NULL, &devices) == OMEMO_OK && omemo_devices_count(devices) == 1);
  juliet_id = omemo_devices_id(devices, 0);
  memcpy(juliet_key, omemo_devices_identity_key(devices, 0, NULL), 32);
  omemo_devices_free(devices);
}

static void stop(void) {
  account_free(&romeo);
  account_free(&juliet);
  omemo_storage_free(romeo.storage);
  CHECK(store.destroyed == 1);
  store_wipe(&store);
  server_wipe();
}

/* Opens romeo anew: nothing of the store is in memory. */
static void reopen(bool connect) {
  romeo.later = false;
  account_free(&romeo);
  account_new(&romeo);
  if (connect) account_connect(&romeo);
}

/* What somebody's device encrypts for another account; to be freed. */
static char *said(struct account *from, const char *to, const char *text) {
  struct end end = {0};
  omemo_draft *draft = draft_to(to, text);
  CHECK(omemo_manager_encrypt(from->manager, draft, on_done, &end, NULL) == OMEMO_OK);
  omemo_draft_free(draft);
  settle(from, 0);
  CHECK(end.calls == 1 && end.status == OMEMO_OK && end.xml);
  return end.xml ? end.xml : copy("");
}

/* Whether it is the text, and no other, that came out; frees what came out. */
static bool reads(omemo_decrypted *decrypted, const char *text) {
  const char *body = omemo_decrypted_body(decrypted);
  bool same = body && strcmp(body, text) == 0;
  omemo_decrypted_free(decrypted);
  return same;
}

static bool juliet_reads(const char *xml, const char *text) {
  omemo_decrypted *decrypted = NULL;
  return xml && omemo_manager_decrypt_xml(juliet.manager, ROMEO, NULL, xml, strlen(xml), &decrypted) == OMEMO_OK &&
         reads(decrypted, text);
}

/* The level that romeo has for a key of juliet: trusted? */
static bool is_trusted(void) {
  omemo_devices *devices = NULL;
  CHECK(omemo_manager_devices(romeo.manager, JULIET, &devices) == OMEMO_OK && omemo_devices_count(devices) == 1);
  const char *level = omemo_devices_trust_level_name(devices, 0);
  bool trusted = level && strcmp(level, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == 0;
  omemo_devices_free(devices);
  return trusted;
}

static bool is_active(const char *jid, uint32_t id) {
  omemo_devices *devices = NULL;
  bool active = false;
  CHECK(omemo_manager_devices(romeo.manager, jid, &devices) == OMEMO_OK);
  for (size_t i = 0; i < omemo_devices_count(devices); i++)
    active = active || (omemo_devices_id(devices, i) == id && omemo_devices_active(devices, i, world_ns));
  omemo_devices_free(devices);
  return active;
}

static omemo_request asked(enum kind kind) {
  for (size_t i = 0; i < romeo.open_count; i++)
    if (romeo.open[i].kind == kind) return romeo.open[i].request;
  CHECK(false);
  return 0;
}

/* Forgets what was answered by the case itself, and answers the rest as ever. */
static void go_on(void) {
  forget_open(&romeo);
  romeo.later = false;
  settle(&romeo, 0);
}

/* -- the calls. Each prepares, arms the service, calls, and looks at what came of it. -- */

typedef void attempt(enum service service);

static void encrypts(enum service service) {
  struct end end = {0};
  reopen(false);
  held.draft = draft_to(JULIET, "Ay me!");
  held.jid = copy(JULIET);
  CHECK(omemo_draft_set_context(held.draft, held.jid) == OMEMO_OK);
  armed = service;
  CHECK(omemo_manager_encrypt(romeo.manager, held.draft, on_done, &end, NULL) == OMEMO_OK);
  armed = SERVICES;
  account_connect(&romeo);
  CHECK(end.calls == 1 && end.status == OMEMO_OK);
  CHECK(juliet_reads(end.xml, "Ay me!"));
  free(end.xml);
}

static void updates_a_list(enum service service) {
  const char *const jids[] = {TYBALT, ROMEO};
  for (size_t i = 0; i < 2; i++) {
    uint32_t id = 1000 + (uint32_t)service;
    reopen(false);
    held.jid = copy(jids[i]);
    held.list = omemo_device_list_new(world_ns);
    CHECK(omemo_device_list_add(held.list, id, NULL, NULL) == OMEMO_OK);
    armed = service;
    CHECK(omemo_manager_update_device_list(romeo.manager, held.jid, held.list) == OMEMO_OK);
    armed = SERVICES;
    CHECK(is_active(jids[i], id));
    let_go();
  }
}

static void decrypts_a_message(enum service service) {
  omemo_decrypted *decrypted = NULL;
  char *xml = said(&juliet, ROMEO, "What man art thou?");
  reopen(false);
  held.jid = copy(JULIET);
  CHECK(omemo_message_parse(xml, strlen(xml), &held.message) == OMEMO_OK);
  armed = service;
  CHECK(omemo_manager_decrypt(romeo.manager, held.jid, NULL, held.message, &decrypted) == OMEMO_OK);
  CHECK(reads(decrypted, "What man art thou?"));
  free(xml);
}

/* A stanza with an element of either namespace is read twice: the second time after services have run. */
static void decrypts_xml(enum service service) {
  static const char *const other = "<message xmlns='jabber:client'><encrypted xmlns='urn:xmpp:omemo:2'><header sid='5'>"
                                   "<keys jid='" TYBALT "'><key rid='6'>AAAA</key></keys></header></encrypted>";
  bool legacy = strcmp(world_ns, OMEMO_NS_LEGACY) == 0;
  omemo_decrypted *decrypted = NULL;
  char *xml = said(&juliet, ROMEO, "What man art thou?");
  size_t size = strlen(other) + strlen(xml) + 20;
  reopen(false);
  held.jid = copy(JULIET);
  held.xml = need(malloc(size));
  snprintf(held.xml, size, "%s%s%s", legacy ? other : "", xml, legacy ? "</message>" : "");
  armed = service;
  CHECK(omemo_manager_decrypt_xml(romeo.manager, held.jid, NULL, held.xml, strlen(held.xml), &decrypted) == OMEMO_OK);
  CHECK(reads(decrypted, "What man art thou?"));
  free(xml);
}

static void sets_trust(enum service service) {
  const char *const levels[] = {OMEMO_TRUST_LEVEL_NAME_UNDECIDED, OMEMO_TRUST_LEVEL_NAME_TRUSTED};
  for (size_t i = 0; i < 2; i++) {
    reopen(false);
    held.jid = copy(JULIET);
    held.level = copy(levels[i]);
    hold_key(juliet_key);
    armed = service;
    CHECK(omemo_manager_set_trust(romeo.manager, held.jid, held.key, 32, held.level) == OMEMO_OK);
    armed = SERVICES;
    CHECK(is_trusted() == (i == 1));
    let_go();
  }
}

static void accepts_an_identity(enum service service) {
  reopen(false);
  held.jid = copy(JULIET);
  hold_key(juliet_key);
  armed = service;
  CHECK(omemo_manager_accept_identity(romeo.manager, held.jid, juliet_id, held.key, 32) == OMEMO_ERR_NOT_FOUND);
}

static void prefers_a_namespace(enum service service) {
  omemo_devices *devices = NULL;
  reopen(false);
  held.jid = copy(JULIET);
  held.ns = copy(world_ns);
  armed = service;
  CHECK(omemo_manager_prefer_namespace(romeo.manager, held.jid, juliet_id, held.ns) == OMEMO_OK);
  armed = SERVICES;
  CHECK(omemo_manager_devices(romeo.manager, JULIET, &devices) == OMEMO_OK);
  const char *preferred = omemo_devices_preferred_namespace(devices, 0);
  CHECK(preferred && strcmp(preferred, world_ns) == 0);
  omemo_devices_free(devices);
}

static void gives_devices(enum service service) {
  omemo_devices *devices = NULL;
  reopen(false);
  held.jid = copy(JULIET);
  armed = service;
  CHECK(omemo_manager_devices(romeo.manager, held.jid, &devices) == OMEMO_OK);
  CHECK(omemo_devices_count(devices) == 1 && omemo_devices_id(devices, 0) == juliet_id);
  omemo_devices_free(devices);
}

/* Asks for the list of a JID, and leaves the question open. */
static void refresh(enum service service, const char *jid, struct end *end) {
  reopen(true);
  romeo.later = true;
  held.jid = copy(jid);
  held.ns = copy(world_ns);
  armed = service;
  CHECK(omemo_manager_refresh_devices(romeo.manager, held.jid, held.ns, on_done, end, NULL) == OMEMO_OK);
  armed = SERVICES;
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
}

static void refreshes_devices(enum service service) {
  struct end end = {0};
  refresh(service, JULIET, &end);
  answer_all(&romeo, 0);
  go_on();
  CHECK(end.calls == 1 && end.status == OMEMO_OK && end.rows > 0);
}

static void opens_a_manager(enum service service) {
  account_free(&romeo);
  held.config = account_config(&romeo);
  armed = service;
  CHECK(omemo_manager_new(held.config, &romeo.manager) == OMEMO_OK);
  CHECK(is_trusted());
}

static void list_of(uint32_t id) {
  held.list = omemo_device_list_new(world_ns);
  CHECK(omemo_device_list_add(held.list, id, NULL, NULL) == OMEMO_OK);
}

static void answers_by_xml(enum service service) {
  struct end end = {0};
  uint32_t id = 2000 + (uint32_t)service;
  refresh(SERVICES, TYBALT, &end);
  list_of(id);
  held.xml = copy(omemo_device_list_xml(held.list, NULL));
  omemo_request request = asked(FETCH_LIST);
  armed = service;
  CHECK(omemo_request_resolve_xml(request, held.xml, strlen(held.xml)) == OMEMO_OK);
  armed = SERVICES;
  go_on();
  CHECK(end.calls == 1 && is_active(TYBALT, id));
}

static void answers_by_a_list(enum service service) {
  struct end end = {0};
  uint32_t id = 3000 + (uint32_t)service;
  refresh(SERVICES, TYBALT, &end);
  list_of(id);
  omemo_request request = asked(FETCH_LIST);
  armed = service;
  CHECK(omemo_request_resolve_device_list(request, held.list) == OMEMO_OK);
  armed = SERVICES;
  go_on();
  CHECK(end.calls == 1 && is_active(TYBALT, id));
}

/* Another account has this bundle, under an id of its own. */
static void answers_by_a_bundle(enum service service) {
  struct end end = {0};
  omemo_devices *devices = NULL;
  char jid[64], *xml = server_get(world_ns, JULIET, juliet_id);
  snprintf(jid, sizeof jid, "cousin%d@capulet.example", (int)service);
  refresh(SERVICES, jid, &end);
  list_of(juliet_id);
  CHECK(omemo_request_resolve_device_list(asked(FETCH_LIST), held.list) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  omemo_request request = asked(FETCH_BUNDLE);
  if (CHECK(xml)) CHECK(omemo_bundle_parse(xml, strlen(xml), &held.bundle) == OMEMO_OK);
  armed = service;
  CHECK(omemo_request_resolve_bundle(request, held.bundle) == OMEMO_OK);
  armed = SERVICES;
  go_on();
  CHECK(end.calls == 1 && omemo_manager_devices(romeo.manager, jid, &devices) == OMEMO_OK);
  const uint8_t *key = omemo_devices_identity_key(devices, 0, NULL);
  CHECK(key && memcmp(key, juliet_key, 32) == 0);
  omemo_devices_free(devices);
  free(xml);
}

static void decides(enum service service) {
  struct end end = {0};
  reopen(true);
  CHECK(omemo_manager_set_trust(romeo.manager, JULIET, juliet_key, 32, OMEMO_TRUST_LEVEL_NAME_UNDECIDED) == OMEMO_OK);
  romeo.later = true;
  CHECK(encrypt(&romeo, JULIET, on_done, &end, NULL) == OMEMO_OK);
  while (omemo_manager_run(romeo.manager) == OMEMO_OK && romeo.open_count > 0 && romeo.open[0].kind != DECIDE_TRUST)
    answer_all(&romeo, 0);
  omemo_request request = asked(DECIDE_TRUST);
  held.level = copy(OMEMO_TRUST_LEVEL_NAME_TRUSTED);
  armed = service;
  CHECK(omemo_request_decide(request, 0, held.level) == OMEMO_OK);
  CHECK(omemo_request_resolve(request) == OMEMO_OK);
  armed = SERVICES;
  go_on();
  CHECK(end.calls == 1 && end.status == OMEMO_OK && is_trusted());
  CHECK(juliet_reads(end.xml, "Ay me!"));
  free(end.xml);
}

/* Tries one call with each service. Some service must have come, else the case tests nothing. */
static attempt *now_trying;
static void each_service(void) {
  unsigned came = 0;
  start();
  char *first = said(&romeo, JULIET, "Good morrow"); /* romeo knows and trusts juliet's key from here on */
  CHECK(juliet_reads(first, "Good morrow"));
  free(first);
  for (int service = 0; service < SERVICES; service++) {
    let_go_inside = false;
    now_trying((enum service)service);
    armed = SERVICES;
    let_go();
    if (let_go_inside) came++;
  }
  if (!CHECK(came > 0)) printf("# no service came\n");
  stop();
}

static const struct {
  const char *name;
  attempt *attempt;
} attempts[] = {
    {"encrypt", encrypts},
    {"update_device_list", updates_a_list},
    {"decrypt", decrypts_a_message},
    {"decrypt_xml", decrypts_xml},
    {"set_trust", sets_trust},
    {"accept_identity", accepts_an_identity},
    {"prefer_namespace", prefers_a_namespace},
    {"devices", gives_devices},
    {"refresh_devices", refreshes_devices},
    {"manager_new", opens_a_manager},
    {"resolve_xml", answers_by_xml},
    {"resolve_device_list", answers_by_a_list},
    {"resolve_bundle", answers_by_a_bundle},
    {"decide", decides},
};

/* -- destroy may call anything, and the object that runs it above all -- */

static omemo_config *config;
static unsigned destroyed;

static omemo_storage *storage_with(omemo_destroy destroy) {
  static const omemo_storage_callbacks callbacks = {sizeof callbacks, store_load, store_commit};
  omemo_storage *storage = NULL;
  CHECK(omemo_storage_callbacks_new(&callbacks, &store, destroy, &storage) == OMEMO_OK);
  return storage;
}

/* Sets the storage of the configuration, which holds the only reference to it from then on. */
static void give_storage(omemo_destroy destroy) {
  omemo_storage *storage = storage_with(destroy);
  CHECK(omemo_config_set_storage(config, storage) == OMEMO_OK);
  omemo_storage_free(storage);
}

static void count_destroy(void *user_data) {
  (void)user_data;
  destroyed++;
}

static void call_setters(void *user_data) {
  omemo_callbacks callbacks = account_callbacks(&romeo);
  const char *ns = OMEMO_NS_2;
  count_destroy(user_data);
  CHECK(omemo_config_set_jid(config, ROMEO) == OMEMO_OK);
  CHECK(omemo_config_set_namespaces(config, &ns, 1) == OMEMO_OK);
  CHECK(omemo_config_set_callbacks(config, &callbacks, &romeo, on_destroy) == OMEMO_OK);
  CHECK(omemo_config_set_log(config, OMEMO_LOG_DEBUG, on_log, &romeo, count_destroy) == OMEMO_OK);
  CHECK(omemo_config_set_option(config, OMEMO_OPTION_MAX_OPEN_FETCHES, 2) == OMEMO_OK);
  CHECK(omemo_config_set_default_trust_level_name(config, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == OMEMO_OK);
  CHECK(strcmp(omemo_config_error(config), "") == 0);
  give_storage(count_destroy); /* instead of the one that has just been set */
}

/* The storage that is set runs the destroy of the one before, which sets everything, storage included. */
static void a_destroy_calls_setters(void) {
  memset(&romeo, 0, sizeof romeo);
  memset(&store, 0, sizeof store);
  romeo.jid = ROMEO;
  destroyed = 0;
  config = omemo_config_new();
  give_storage(call_setters);
  give_storage(count_destroy);
  CHECK(destroyed == 2); /* both that were replaced */
  CHECK(omemo_manager_new(config, &romeo.manager) == OMEMO_OK);
  omemo_config_free(config);
  CHECK(destroyed == 2);
  account_free(&romeo);
  CHECK(destroyed == 4); /* the last storage, and the log */
  store_wipe(&store);
}

static void free_config(void *user_data) {
  count_destroy(user_data);
  omemo_config_free(config);
  config = NULL;
}

static void a_destroy_frees_the_configuration(void) {
  destroyed = 0;
  config = omemo_config_new();
  give_storage(free_config);
  omemo_storage *storage = storage_with(count_destroy);
  CHECK(omemo_config_set_storage(config, storage) == OMEMO_OK);
  CHECK(!config && destroyed == 1);
  omemo_storage_free(storage);
  CHECK(destroyed == 2);
}

static omemo_storage *replacing;

static void free_the_new_storage(void *user_data) {
  count_destroy(user_data);
  omemo_storage_free(replacing);
}

static void a_destroy_frees_what_replaces_it(void) {
  destroyed = 0;
  config = omemo_config_new();
  give_storage(free_the_new_storage);
  replacing = storage_with(count_destroy);
  CHECK(omemo_config_set_storage(config, replacing) == OMEMO_OK);
  CHECK(destroyed == 1); /* the configuration holds the new one */
  omemo_config_free(config);
  CHECK(destroyed == 2);
}

/* Each destroy frees the next object: a configuration, a storage, a manager. */
static omemo_storage *last_storage;

static void free_last_storage(struct account *account) {
  (void)account;
  omemo_storage_free(last_storage);
}

static void free_romeo(void *user_data) {
  count_destroy(user_data);
  omemo_manager_free(romeo.manager);
}

static void frees_run_frees(void) {
  omemo_config *first = omemo_config_new();
  memset(&romeo, 0, sizeof romeo);
  omemo_callbacks callbacks = account_callbacks(&romeo);
  romeo.jid = ROMEO;
  romeo.in_destroy = free_last_storage;
  account_new(&romeo);
  destroyed = 0;
  last_storage = storage_with(count_destroy);
  config = omemo_config_new();
  give_storage(free_romeo);
  CHECK(omemo_config_set_callbacks(first, &callbacks, NULL, free_config) == OMEMO_OK);
  CHECK(omemo_config_set_log(first, OMEMO_LOG_DEBUG, on_log, &romeo, count_destroy) == OMEMO_OK);
  omemo_config_free(first); /* config, its storage, romeo, last_storage */
  CHECK(!config && destroyed == 4 && romeo.destroyed == 1);
}

int main(void) {
  for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
    char name[64];
    snprintf(name, sizeof name, "%s_keeps_nothing_of_the_client", attempts[i].name);
    now_trying = attempts[i].attempt;
    run_in_both(name, each_service);
  }
  run_case("a_destroy_calls_setters", a_destroy_calls_setters);
  run_case("a_destroy_frees_the_configuration", a_destroy_frees_the_configuration);
  run_case("a_destroy_frees_what_replaces_it", a_destroy_frees_what_replaces_it);
  run_case("frees_run_frees", frees_run_frees);
  return cases_failed == 0 ? 0 : 1;
}
