/* What the client says later counts more than what it said earlier, whenever it is committed; and what a client needs
 * to begin and to end: the device id, device lists that are gone, idleness, streams that come and go. */
#define _POSIX_C_SOURCE 200809L
#include "world.h"

#define ROMEO "romeo@montague.example"
#define JULIET "juliet@capulet.example"
#define TYBALT "tybalt@capulet.example"
#define MALLORY "mallory@evil.example"

static struct account romeo, juliet;

/* Never connected; questions wait from now on. */
static void begin(struct account *account, const char *jid) {
  memset(account, 0, sizeof *account);
  account->jid = jid;
  account->clock = account->later = true;
  account->now = 1700000000000;
  account_new(account);
}

static void start(struct account *account, const char *jid) {
  begin(account, jid);
  account_connect(account);
}

static void run(struct account *account) {
  CHECK(omemo_manager_run(account->manager) == OMEMO_OK);
}

static omemo_device_list *list_of(const uint32_t *ids, size_t count) {
  omemo_device_list *list = omemo_device_list_new(world_ns);
  for (size_t i = 0; i < count; i++) CHECK(omemo_device_list_add(list, ids[i], NULL, NULL) == OMEMO_OK);
  return list;
}

static void push(struct account *account, const char *jid, uint32_t id) {
  omemo_device_list *list = list_of(&id, 1);
  CHECK(omemo_manager_update_device_list(account->manager, jid, list) == OMEMO_OK);
  omemo_device_list_free(list);
}

static omemo_status answer_list(omemo_request request, uint32_t id) {
  omemo_device_list *list = list_of(&id, 1);
  omemo_status status = omemo_request_resolve_device_list(request, list);
  omemo_device_list_free(list);
  return status;
}

/* The list with one device as it stands in a stanza, between two pieces of XML. */
static char *stanza(const char *before, uint32_t id, const char *after) {
  omemo_device_list *list = list_of(&id, 1);
  const char *xml = omemo_device_list_xml(list, NULL);
  const char *suffix = strcmp(world_ns, OMEMO_NS_2) == 0 ? ":devices" : ".devicelist";
  size_t size = strlen(before) + strlen(world_ns) + strlen(suffix) + strlen(xml) + strlen(after) + 64;
  char *text = need(malloc(size));
  snprintf(text, size, "%s<items node='%s%s'><item id='current'>%s</item></items>%s", before, world_ns, suffix, xml,
           after);
  omemo_device_list_free(list);
  return text;
}

static void push_delayed(struct account *account, const char *jid, uint32_t id) {
  char *xml = stanza("<message xmlns='jabber:client'><event xmlns='http://jabber.org/protocol/pubsub#event'>", id,
                     "</event><delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/></message>");
  omemo_device_list *list = NULL;
  CHECK(omemo_device_list_parse(xml, strlen(xml), &list) == OMEMO_OK && omemo_device_list_is_delayed(list));
  CHECK(omemo_manager_update_device_list(account->manager, jid, list) == OMEMO_OK);
  omemo_device_list_free(list);
  free(xml);
}

/* The row of a device; its index, or SIZE_MAX. The caller frees devices. */
static size_t device_row(struct account *account, const char *jid, uint32_t id, omemo_devices **devices) {
  CHECK(omemo_manager_devices(account->manager, jid, devices) == OMEMO_OK);
  for (size_t i = 0; i < omemo_devices_count(*devices); i++)
    if (omemo_devices_id(*devices, i) == id) return i;
  return SIZE_MAX;
}

static bool active(struct account *account, const char *jid, uint32_t id) {
  omemo_devices *devices = NULL;
  size_t row = device_row(account, jid, id, &devices);
  bool is = omemo_devices_active(devices, row, world_ns);
  omemo_devices_free(devices);
  return is;
}

static uint32_t own_id(struct account *account) {
  uint32_t id = 0;
  CHECK(omemo_manager_device_id(account->manager, &id) == OMEMO_OK);
  return id;
}

/* The open question of this kind about this JID ("": about any), or NULL. */
static const struct question *open_question(const struct account *account, enum kind kind, const char *jid) {
  for (size_t i = 0; i < account->open_count; i++)
    if (account->open[i].kind == kind && (!*jid || strcmp(account->open[i].jid, jid) == 0)) return &account->open[i];
  return NULL;
}

static omemo_request open_request(const struct account *account, enum kind kind, const char *jid) {
  const struct question *question = open_question(account, kind, jid);
  return CHECK(question != NULL) ? question->request : 0;
}

/* Runs and answers everything until a question of this kind is open. */
static void answer_until(struct account *account, enum kind kind) {
  for (unsigned i = 0; i < 20; i++) {
    run(account);
    if (open_question(account, kind, "")) return;
    answer_all(account, 0);
  }
  CHECK(open_question(account, kind, "") != NULL);
}

static void refresh(struct account *account, const char *jid) {
  CHECK(omemo_manager_refresh_devices(account->manager, jid, NULL, NULL, NULL, NULL) == OMEMO_OK);
  run(account);
}

static omemo_status connected(struct account *account, struct end *end) {
  memset(end, 0, sizeof *end);
  return omemo_manager_connected(account->manager, OMEMO_CATCH_UP_NONE, on_done, end, NULL);
}

static bool server_lists(const char *jid, uint32_t id) {
  char *xml = server_get(world_ns, jid, 0);
  omemo_device_list *list = NULL;
  bool found = false;
  if (xml && CHECK(omemo_device_list_parse(xml, strlen(xml), &list) == OMEMO_OK))
    for (size_t i = 0; i < omemo_device_list_count(list); i++) found = found || omemo_device_list_id(list, i) == id;
  omemo_device_list_free(list);
  free(xml);
  return found;
}

/* -- lists -- */

static void an_older_answer_does_not_undo_a_push(void) {
  start(&romeo, ROMEO);
  refresh(&romeo, TYBALT);
  CHECK(answer_list(open_request(&romeo, FETCH_LIST, TYBALT), 7) == OMEMO_OK);
  push(&romeo, TYBALT, 8); /* the next stanza */
  run(&romeo);
  CHECK(!active(&romeo, TYBALT, 7) && active(&romeo, TYBALT, 8));
  account_free(&romeo);
}

static void a_newer_answer_undoes_a_push(void) {
  start(&romeo, ROMEO);
  push(&romeo, TYBALT, 7);
  refresh(&romeo, TYBALT);
  CHECK(answer_list(open_request(&romeo, FETCH_LIST, TYBALT), 8) == OMEMO_OK);
  run(&romeo);
  CHECK(!active(&romeo, TYBALT, 7) && active(&romeo, TYBALT, 8));
  account_free(&romeo);
}

static void a_push_withdraws_the_open_question(void) {
  start(&romeo, ROMEO);
  refresh(&romeo, TYBALT);
  omemo_request request = open_request(&romeo, FETCH_LIST, TYBALT);
  push(&romeo, TYBALT, 8);
  CHECK(answer_list(request, 7) == OMEMO_ERR_STALE);
  run(&romeo);
  CHECK(romeo.last_withdrawn == request);
  CHECK(!active(&romeo, TYBALT, 7) && active(&romeo, TYBALT, 8));
  account_free(&romeo);
}

static void a_delayed_list_is_older_than_all_others(void) {
  start(&romeo, ROMEO);
  push_delayed(&romeo, TYBALT, 6); /* nothing else is known */
  CHECK(active(&romeo, TYBALT, 6));
  refresh(&romeo, TYBALT);
  omemo_request request = open_request(&romeo, FETCH_LIST, TYBALT);
  push_delayed(&romeo, TYBALT, 5);
  CHECK(answer_list(request, 7) == OMEMO_OK); /* it stayed open */
  push_delayed(&romeo, TYBALT, 4);            /* after an answer that is only noted */
  run(&romeo);
  CHECK(active(&romeo, TYBALT, 7) && !active(&romeo, TYBALT, 6));
  push_delayed(&romeo, TYBALT, 4);
  CHECK(active(&romeo, TYBALT, 7) && !active(&romeo, TYBALT, 5) && !active(&romeo, TYBALT, 4));
  account_free(&romeo);
}

static void a_delayed_list_is_not_fresh(void) {
  start(&romeo, ROMEO);
  push_delayed(&romeo, TYBALT, 6);
  CHECK(encrypt(&romeo, TYBALT, NULL, NULL, NULL) == OMEMO_OK);
  run(&romeo);
  CHECK(open_question(&romeo, FETCH_LIST, TYBALT) != NULL);
  account_free(&romeo);
}

static void a_delayed_list_of_ours_is_published_by_nobody(void) {
  start(&romeo, ROMEO);
  struct end end;
  CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK);
  CHECK(connected(&romeo, &end) == OMEMO_OK);
  run(&romeo);
  push_delayed(&romeo, ROMEO, 5);
  run(&romeo);
  CHECK(open_question(&romeo, PUBLISH_LIST, "") == NULL);
  settle(&romeo, 0);
  CHECK(end.calls == 1 && end.status == OMEMO_OK);
  CHECK(server_lists(ROMEO, own_id(&romeo)) && !server_lists(ROMEO, 5));
  account_free(&romeo);
}

static void an_iq_of_somebody_else_is_no_answer(void) {
  static const char *const senders[] = {MALLORY "/x", MALLORY, ROMEO "/a", TYBALT};
  start(&romeo, ROMEO);
  refresh(&romeo, TYBALT);
  omemo_request request = open_request(&romeo, FETCH_LIST, TYBALT);
  for (size_t i = 0; i < 4; i++) {
    char head[256];
    snprintf(head, sizeof head,
             "<iq xmlns='jabber:client' type='result' id='1' from='%s' to='" ROMEO
             "/a'><pubsub xmlns='http://jabber.org/protocol/pubsub'>",
             senders[i]);
    char *iq = stanza(head, i < 3 ? 666 : 8, "</pubsub></iq>");
    CHECK(omemo_request_resolve_xml(request, iq, strlen(iq)) == (i < 3 ? OMEMO_ERR_WRONG_ANSWER : OMEMO_OK));
    free(iq);
  }
  run(&romeo);
  CHECK(!active(&romeo, TYBALT, 666) && active(&romeo, TYBALT, 8));
  account_free(&romeo);
}

static void a_push_behind_our_publication_is_built_upon(void) {
  for (int answered_first = 0; answered_first < 2; answered_first++) {
    struct end end;
    server_wipe();
    begin(&romeo, ROMEO);
    CHECK(connected(&romeo, &end) == OMEMO_OK);
    answer_until(&romeo, PUBLISH_LIST);
    const uint32_t other = 300;
    omemo_device_list *list = list_of(&other, 1);
    if (answered_first) answer_all(&romeo, 0);
    server_put(world_ns, ROMEO, 0, omemo_device_list_xml(list, NULL)); /* another client's, which did not see ours */
    push(&romeo, ROMEO, other);
    omemo_device_list_free(list);
    settle(&romeo, 0);
    CHECK(end.calls == 1 && end.status == OMEMO_OK);
    CHECK(server_lists(ROMEO, other) && server_lists(ROMEO, own_id(&romeo)));
    CHECK(active(&romeo, NULL, other));
    account_free(&romeo);
  }
}

static void a_list_that_is_gone_announces_nothing(void) {
  start(&romeo, ROMEO);
  push(&romeo, TYBALT, 8);
  refresh(&romeo, TYBALT);
  CHECK(answer_list(open_request(&romeo, FETCH_LIST, TYBALT), 8) == OMEMO_OK);
  CHECK(omemo_manager_device_list_gone(romeo.manager, TYBALT, world_ns) == OMEMO_OK);
  CHECK(!active(&romeo, TYBALT, 8));
  run(&romeo); /* the older answer */
  CHECK(!active(&romeo, TYBALT, 8));
  push(&romeo, TYBALT, 9);
  CHECK(active(&romeo, TYBALT, 9));
  CHECK(omemo_manager_device_list_gone(romeo.manager, TYBALT "/x", world_ns) == OMEMO_ERR_JID);
  const char *other = strcmp(world_ns, OMEMO_NS_2) == 0 ? OMEMO_NS_LEGACY : OMEMO_NS_2;
  CHECK(omemo_manager_device_list_gone(romeo.manager, TYBALT, other) == OMEMO_ERR_UNKNOWN_NAMESPACE);
  account_free(&romeo);
}

static void our_list_that_is_gone_is_published_again(void) {
  start(&romeo, ROMEO);
  CHECK(server_lists(ROMEO, own_id(&romeo)));
  omemo_device_list *list = omemo_device_list_new(world_ns);
  server_put(world_ns, ROMEO, 0, omemo_device_list_xml(list, NULL));
  omemo_device_list_free(list);
  CHECK(omemo_manager_device_list_gone(romeo.manager, ROMEO, world_ns) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(server_lists(ROMEO, own_id(&romeo)));
  account_free(&romeo);
}

/* -- trust -- */

/* Juliet's one device, known to Romeo and not judged; the question about it is open. */
static omemo_request undecided(struct end *end) {
  memset(end, 0, sizeof *end);
  start(&juliet, JULIET);
  start(&romeo, ROMEO);
  CHECK(encrypt(&romeo, JULIET, on_done, end, NULL) == OMEMO_OK);
  answer_until(&romeo, DECIDE_TRUST);
  return open_request(&romeo, DECIDE_TRUST, JULIET);
}

static void judge(const char *level) {
  omemo_devices *devices = NULL;
  size_t row = device_row(&romeo, JULIET, own_id(&juliet), &devices), len = 0;
  const uint8_t *key = omemo_devices_identity_key(devices, row, &len);
  CHECK(omemo_manager_set_trust(romeo.manager, JULIET, key, len, level) == OMEMO_OK);
  omemo_devices_free(devices);
}

static omemo_core_trust verdict(void) {
  omemo_devices *devices = NULL;
  size_t row = device_row(&romeo, JULIET, own_id(&juliet), &devices);
  omemo_core_trust verdict = omemo_devices_core_trust(devices, row);
  omemo_devices_free(devices);
  return verdict;
}

static void an_older_decision_does_not_undo_set_trust(void) {
  struct end end;
  omemo_request request = undecided(&end);
  CHECK(omemo_request_decide(request, 0, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == OMEMO_OK);
  CHECK(omemo_request_resolve(request) == OMEMO_OK);
  judge(OMEMO_TRUST_LEVEL_NAME_DISTRUSTED); /* before a run has committed the decision */
  settle(&romeo, 0);
  CHECK(verdict() == OMEMO_CORE_DISTRUSTED);
  CHECK(end.calls == 1 && end.status == OMEMO_ERR_NO_ELIGIBLE_DEVICES && end.messages == 0);
  account_free(&romeo);
  account_free(&juliet);
}

static void a_newer_decision_undoes_set_trust(void) {
  struct end end;
  omemo_request request = undecided(&end);
  judge(OMEMO_TRUST_LEVEL_NAME_DISTRUSTED);
  CHECK(omemo_request_decide(request, 0, OMEMO_TRUST_LEVEL_NAME_TRUSTED) == OMEMO_OK);
  CHECK(omemo_request_resolve(request) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(verdict() == OMEMO_CORE_TRUSTED);
  CHECK(end.calls == 1 && end.status == OMEMO_OK && end.messages == 1);
  free(end.xml);
  account_free(&romeo);
  account_free(&juliet);
}

static void names_of_levels_have_at_most_256_bytes(void) {
  struct end end;
  char name[258];
  memset(name, 'x', sizeof name);
  name[257] = 0;
  omemo_request request = undecided(&end);
  CHECK(omemo_request_decide(request, 0, name) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_request_decide(request, 0, "") == OMEMO_ERR_ARGUMENT);
  name[256] = 0;
  CHECK(omemo_request_decide(request, 0, name) == OMEMO_ERR_UNKNOWN_TRUST_LEVEL);
  account_free(&romeo);
  account_free(&juliet);
}

static void a_key_that_only_key_exchanges_show_is_provisional(void) {
  struct end end = {0};
  omemo_decrypted *decrypted = NULL;
  start(&romeo, ROMEO);
  start(&juliet, JULIET);
  CHECK(encrypt(&juliet, ROMEO, on_done, &end, NULL) == OMEMO_OK);
  settle(&juliet, 0);
  if (!CHECK(end.calls == 1 && end.status == OMEMO_OK && end.xml != NULL)) return;
  CHECK(omemo_manager_decrypt_xml(romeo.manager, JULIET, NULL, end.xml, strlen(end.xml), &decrypted) == OMEMO_OK);
  CHECK(omemo_decrypted_status(decrypted) == OMEMO_OK && omemo_decrypted_provisional(decrypted));
  CHECK(omemo_decrypted_core_trust(decrypted) == OMEMO_CORE_UNDECIDED);
  CHECK((omemo_decrypted_flags(decrypted) & OMEMO_DECRYPTED_DEVICE_NOT_LISTED) == 0); /* no list is known */
  omemo_decrypted_free(decrypted);
  judge(OMEMO_TRUST_LEVEL_NAME_TRUSTED);
  omemo_devices *devices = NULL;
  size_t row = device_row(&romeo, JULIET, own_id(&juliet), &devices);
  CHECK(omemo_devices_provisional(devices, row) && omemo_devices_core_trust(devices, row) == OMEMO_CORE_UNDECIDED);
  CHECK(!omemo_devices_provisional(devices, SIZE_MAX) && !omemo_devices_provisional(NULL, 0));
  omemo_devices_free(devices);
  settle(&romeo, 0);
  refresh(&romeo, JULIET); /* its bundle confirms it */
  settle(&romeo, 0);
  row = device_row(&romeo, JULIET, own_id(&juliet), &devices);
  CHECK(!omemo_devices_provisional(devices, row) && omemo_devices_core_trust(devices, row) == OMEMO_CORE_TRUSTED);
  omemo_devices_free(devices);
  push(&romeo, JULIET, 9); /* and somebody takes it off the list */
  CHECK(encrypt(&juliet, ROMEO, on_done, &end, NULL) == OMEMO_OK);
  settle(&juliet, 0);
  CHECK(omemo_manager_decrypt_xml(romeo.manager, JULIET, NULL, end.xml, strlen(end.xml), &decrypted) == OMEMO_OK);
  CHECK(omemo_decrypted_status(decrypted) == OMEMO_OK && !omemo_decrypted_provisional(decrypted));
  CHECK(omemo_decrypted_core_trust(decrypted) == OMEMO_CORE_TRUSTED);
  CHECK((omemo_decrypted_flags(decrypted) & OMEMO_DECRYPTED_DEVICE_NOT_LISTED) != 0);
  omemo_decrypted_free(decrypted);
  free(end.xml);
  account_free(&romeo);
  account_free(&juliet);
}

/* -- streams -- */

static void an_answer_before_the_stream_broke_is_stored_and_not_fresh(void) {
  struct end end;
  start(&romeo, ROMEO);
  CHECK(encrypt(&romeo, TYBALT, NULL, NULL, NULL) == OMEMO_OK);
  run(&romeo);
  CHECK(answer_list(open_request(&romeo, FETCH_LIST, TYBALT), 7) == OMEMO_OK);
  CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK);
  forget_open(&romeo);
  run(&romeo);
  CHECK(active(&romeo, TYBALT, 7));
  CHECK(connected(&romeo, &end) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(end.calls == 1 && end.status == OMEMO_OK);
  CHECK(!active(&romeo, TYBALT, 7)); /* it was fetched again, and the server has none */
  account_free(&romeo);
}

static void of_two_words_about_the_stream_the_later_one_counts(void) {
  struct end end, again;
  start(&romeo, ROMEO);
  CHECK(connected(&romeo, &end) == OMEMO_OK);
  CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(end.calls == 1 && end.status == OMEMO_ERR_OFFLINE);
  CHECK(omemo_manager_refresh_devices(romeo.manager, TYBALT, NULL, NULL, NULL, NULL) == OMEMO_ERR_OFFLINE);
  CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK); /* twice does no harm */
  CHECK(connected(&romeo, &end) == OMEMO_OK && connected(&romeo, &again) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(end.calls == 1 && end.status == OMEMO_OK && again.calls == 1 && again.status == OMEMO_OK);
  CHECK(omemo_manager_is_idle(romeo.manager));
  account_free(&romeo);
}

static void a_connected_that_failed_is_tried_again_by_itself(void) {
  struct end end;
  uint32_t id = 0;
  begin(&romeo, ROMEO);
  CHECK(connected(&romeo, &end) == OMEMO_OK);
  run(&romeo);
  CHECK(omemo_request_reject(open_request(&romeo, FETCH_LIST, ROMEO), OMEMO_REJECT_FAILED) == OMEMO_OK);
  forget_open(&romeo);
  run(&romeo);
  CHECK(end.calls == 1 && end.status == OMEMO_ERR_DEVICE_LIST_DOWNLOAD_FAILED);
  CHECK(omemo_manager_device_id(romeo.manager, &id) == OMEMO_ERR_NOT_READY && id == 0);
  CHECK(!omemo_manager_is_idle(romeo.manager));
  int64_t timeout = omemo_manager_timeout(romeo.manager);
  CHECK(timeout >= 0 && timeout <= 300000);
  for (unsigned i = 0; i < 20 && omemo_manager_device_id(romeo.manager, &id) != OMEMO_OK; i++) {
    settle(&romeo, 0);
    romeo.now += 60000;
  }
  settle(&romeo, 0);
  CHECK(id != 0 && server_lists(ROMEO, id) && omemo_manager_is_idle(romeo.manager));
  account_free(&romeo);
}

/* -- beginning and ending -- */

static void the_device_id_is_there_after_the_first_connection(void) {
  omemo_devices *devices = NULL;
  uint32_t id = 5;
  begin(&romeo, ROMEO);
  CHECK(omemo_manager_device_id(romeo.manager, &id) == OMEMO_ERR_NOT_READY && id == 5);
  account_connect(&romeo);
  CHECK(omemo_manager_device_id(romeo.manager, &id) == OMEMO_OK);
  CHECK(omemo_manager_devices(romeo.manager, NULL, &devices) == OMEMO_OK);
  CHECK(id == omemo_devices_id(devices, 0) && !omemo_devices_provisional(devices, 0));
  omemo_devices_free(devices);
  account_free(&romeo);
}

static void asks_inside_a_service(struct account *account) {
  uint32_t id = 0;
  CHECK(!omemo_manager_is_idle(account->manager));
  CHECK(omemo_manager_device_id(account->manager, &id) == OMEMO_ERR_BUSY && id == 0);
  CHECK(omemo_manager_device_list_gone(account->manager, TYBALT, world_ns) == OMEMO_ERR_BUSY);
}

static void a_manager_is_idle_when_nothing_is_left(void) {
  struct end end;
  begin(&romeo, ROMEO);
  run(&romeo);
  CHECK(omemo_manager_is_idle(romeo.manager)); /* offline */
  CHECK(connected(&romeo, &end) == OMEMO_OK);
  CHECK(!omemo_manager_is_idle(romeo.manager));
  for (unsigned i = 0; i < 20 && end.calls == 0; i++) {
    run(&romeo);
    if (end.calls == 0) CHECK(!omemo_manager_is_idle(romeo.manager)); /* also while questions are open */
    answer_all(&romeo, 0);
    if (end.calls == 0) CHECK(!omemo_manager_is_idle(romeo.manager)); /* and while answers are only noted */
  }
  settle(&romeo, 0);
  CHECK(end.calls == 1 && omemo_manager_is_idle(romeo.manager));
  push(&romeo, ROMEO, 300); /* our list without us */
  CHECK(!omemo_manager_is_idle(romeo.manager));
  settle(&romeo, 0);
  CHECK(omemo_manager_is_idle(romeo.manager));
  romeo.in_evaluate = asks_inside_a_service;
  omemo_devices *devices = NULL;
  CHECK(omemo_manager_devices(romeo.manager, NULL, &devices) == OMEMO_OK && romeo.evaluations > 0);
  omemo_devices_free(devices);
  CHECK(!omemo_manager_is_idle(NULL));
  romeo.in_evaluate = NULL;
  account_free(&romeo);
}

static void encryptions_wait_for_a_stream_a_thousand_at_most(void) {
  struct end end = {0}, now = {0};
  start(&romeo, ROMEO);
  CHECK(omemo_manager_disconnected(romeo.manager) == OMEMO_OK);
  CHECK(encrypt(&romeo, TYBALT, on_done, &end, NULL) == OMEMO_OK);
  for (unsigned i = 1; i < 1000; i++)
    if (!CHECK(encrypt(&romeo, TYBALT, NULL, NULL, NULL) == OMEMO_OK)) break;
  CHECK(encrypt(&romeo, TYBALT, NULL, NULL, NULL) == OMEMO_ERR_LIMIT);
  omemo_draft *draft = draft_to(TYBALT, "Ay me!");
  CHECK(omemo_draft_set_policy(draft, OMEMO_ENCRYPT_NOW) == OMEMO_OK);
  CHECK(omemo_manager_encrypt(romeo.manager, draft, on_done, &now, NULL) == OMEMO_OK);
  omemo_draft_free(draft);
  run(&romeo);
  CHECK(end.calls == 0 && now.calls == 1 && now.status == OMEMO_ERR_NO_ELIGIBLE_DEVICES && now.rows > 0);
  struct end up;
  CHECK(connected(&romeo, &up) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(end.calls == 1 && end.status == OMEMO_ERR_NO_ELIGIBLE_DEVICES);
  CHECK(encrypt(&romeo, TYBALT, NULL, NULL, NULL) == OMEMO_OK);
  account_free(&romeo);
}

/* -- what a server says -- */

/* A JID, the C1 control character that begins an escape sequence, and a newline. */
#define REFUSAL(from)                                                                                                  \
  "<iq xmlns='jabber:client' type='error' id='1' " from                                                                \
  "><error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"                                       \
  "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>ask " TYBALT "\xc2\x9b[31m\nnow</text></error></iq>"

static char row_text[1024];
static omemo_status row_status;
static bool log_shows_it;

static void keep_row(void *user_data, omemo_op op, omemo_status status, const omemo_result *result) {
  (void)user_data, (void)op, (void)status;
  row_status = omemo_result_row_status(result, 0);
  snprintf(row_text, sizeof row_text, "%s", omemo_result_row_detail(result, 0));
}

static void read_line(struct account *account) {
  if (strstr(account->line, "tybalt") || strstr(account->line, "[31m") || strpbrk(account->line, "\n\x1b\x9b"))
    log_shows_it = true;
}

static void a_refusal_is_in_the_row_and_not_in_the_log(void) {
  static const char *const refusals[] = {REFUSAL(""), REFUSAL(""), REFUSAL("from='" JULIET "'")};
  static const enum kind kinds[] = {PUBLISH_BUNDLE, PUBLISH_LIST, FETCH_LIST};
  static const omemo_status statuses[] = {OMEMO_ERR_BUNDLE_UPLOAD_FAILED, OMEMO_ERR_DEVICE_LIST_UPLOAD_FAILED,
                                          OMEMO_ERR_DEVICE_LIST_DOWNLOAD_FAILED};
  for (size_t i = 0; i < 3; i++) {
    server_wipe();
    begin(&romeo, ROMEO);
    romeo.in_log = read_line;
    log_shows_it = false;
    row_status = OMEMO_OK;
    if (kinds[i] == FETCH_LIST) account_connect(&romeo); /* the refusal is of a contact's list */
    if (kinds[i] == FETCH_LIST)
      CHECK(omemo_manager_refresh_devices(romeo.manager, JULIET, NULL, keep_row, NULL, NULL) == OMEMO_OK);
    else CHECK(omemo_manager_connected(romeo.manager, OMEMO_CATCH_UP_NONE, keep_row, NULL, NULL) == OMEMO_OK);
    answer_until(&romeo, kinds[i]);
    unsigned notices = romeo.notices;
    CHECK(omemo_request_resolve_xml(open_request(&romeo, kinds[i], ""), refusals[i], strlen(refusals[i])) == OMEMO_OK);
    forget_open(&romeo);
    run(&romeo);
    CHECK(row_status == statuses[i]);
    if (!CHECK(strstr(row_text, "forbidden") && strstr(row_text, "ask " TYBALT "\\u{9b}[31m\\u{a}now")))
      printf("# %s\n", row_text);
    CHECK(strpbrk(row_text, "\n\x1b\x9b") == NULL);
    CHECK(kinds[i] == FETCH_LIST || romeo.notices > notices);
    CHECK(romeo.lines > 0 && !log_shows_it);
    account_free(&romeo);
  }
}

int main(void) {
#define IN_BOTH(name)                                                                                                  \
  server_wipe();                                                                                                       \
  run_in_both(#name, name)
  IN_BOTH(an_older_answer_does_not_undo_a_push);
  IN_BOTH(a_newer_answer_undoes_a_push);
  IN_BOTH(a_push_withdraws_the_open_question);
  IN_BOTH(a_delayed_list_is_older_than_all_others);
  IN_BOTH(a_delayed_list_is_not_fresh);
  IN_BOTH(a_delayed_list_of_ours_is_published_by_nobody);
  IN_BOTH(an_iq_of_somebody_else_is_no_answer);
  IN_BOTH(a_push_behind_our_publication_is_built_upon);
  IN_BOTH(a_list_that_is_gone_announces_nothing);
  IN_BOTH(our_list_that_is_gone_is_published_again);
  IN_BOTH(an_older_decision_does_not_undo_set_trust);
  IN_BOTH(a_newer_decision_undoes_set_trust);
  IN_BOTH(names_of_levels_have_at_most_256_bytes);
  IN_BOTH(a_key_that_only_key_exchanges_show_is_provisional);
  IN_BOTH(an_answer_before_the_stream_broke_is_stored_and_not_fresh);
  IN_BOTH(of_two_words_about_the_stream_the_later_one_counts);
  IN_BOTH(a_connected_that_failed_is_tried_again_by_itself);
  IN_BOTH(the_device_id_is_there_after_the_first_connection);
  IN_BOTH(a_manager_is_idle_when_nothing_is_left);
  IN_BOTH(encryptions_wait_for_a_stream_a_thousand_at_most);
  IN_BOTH(a_refusal_is_in_the_row_and_not_in_the_log);
  server_wipe();
  return cases_failed == 0 ? 0 : 1;
}
