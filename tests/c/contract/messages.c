/* The order of messages, half a success, and the way of a message through all of it (8 and 12 of the contract). */
#include "contract.h"

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

/* -- what a client asks itself -- */

/* The end of an encryption of a draft, which is freed, while everything is answered at once. */
static omemo_result *encrypted(struct account *account, omemo_draft *draft) {
  omemo_op op = 0;
  CHECK(omemo_manager_encrypt(account->manager, draft, NULL, NULL, &op) == OMEMO_OK);
  omemo_draft_free(draft);
  return omemo_manager_wait(account->manager, op, 10000);
}

/* Two accounts that answer everything at once. */
static void start_pair(struct account *one, const char *jid, struct account *two, const char *other) {
  start_connected(one, jid);
  start_connected(two, other);
  one->later = two->later = false;
}

static void without_recipients_the_own_devices_are_served(void) {
  struct account phone, desktop;
  omemo_draft *draft = omemo_draft_new();
  start_connected(&phone, ROMEO);
  phone.later = false;
  CHECK(omemo_draft_set_body(draft, "a note") == OMEMO_OK);
  omemo_result *result = encrypted(&phone, draft);
  CHECK(omemo_result_status(result) == OMEMO_OK && omemo_result_message_count(result) == 0);
  CHECK(omemo_result_context(result) == NULL);
  omemo_result_free(result);
  account_free(&phone);
  server_wipe();
  start_pair(&desktop, ROMEO, &phone, ROMEO);
  draft = omemo_draft_new();
  CHECK(omemo_draft_set_body(draft, "a note") == OMEMO_OK);
  result = encrypted(&phone, draft);
  CHECK(omemo_result_status(result) == OMEMO_OK && omemo_result_message_count(result) == 1);
  deliver(&phone, &desktop, omemo_message_xml(omemo_result_message(result, 0), NULL), "a note");
  omemo_result_free(result);
  account_free(&phone);
  account_free(&desktop);
}

static void another_own_device_that_was_taken_off_stays_off(void) {
  struct account phone, desktop;
  uint32_t kept = 0, lost = 0;
  omemo_devices *devices = NULL;
  start_pair(&desktop, ROMEO, &phone, ROMEO);
  CHECK(omemo_manager_device_id(phone.manager, &kept) == OMEMO_OK);
  CHECK(omemo_manager_device_id(desktop.manager, &lost) == OMEMO_OK && kept != lost);
  account_free(&desktop);
  CHECK(omemo_manager_devices(phone.manager, NULL, &devices) == OMEMO_OK && omemo_devices_count(devices) == 2);
  CHECK(omemo_devices_id(devices, 1) == lost && omemo_devices_active(devices, 1, world_ns));
  omemo_devices_free(devices);
  omemo_device_list *list = omemo_device_list_new(world_ns);
  CHECK(omemo_device_list_add(list, kept, NULL, NULL) == OMEMO_OK);
  server_put(world_ns, ROMEO, 0, omemo_device_list_xml(list, NULL));
  CHECK(omemo_manager_update_device_list(phone.manager, ROMEO, list) == OMEMO_OK);
  settle(&phone, 0);
  char *published = server_get(world_ns, ROMEO, 0);
  CHECK(published && strcmp(published, omemo_device_list_xml(list, NULL)) == 0); /* nothing was published again */
  CHECK(omemo_manager_devices(phone.manager, NULL, &devices) == OMEMO_OK);
  for (size_t i = 0; i < omemo_devices_count(devices); i++) /* nor is it counted as a device still */
    CHECK(omemo_devices_active(devices, i, world_ns) == (omemo_devices_id(devices, i) == kept));
  free(published);
  omemo_devices_free(devices);
  omemo_device_list_free(list);
  account_free(&phone);
}

/* Opens Romeo without decide_trust, with another default level or a policy. */
static void start_without_dialogs(struct account *account, const char *level, omemo_trust_policy policy) {
  omemo_config *config = omemo_config_new();
  omemo_storage *storage = NULL;
  memset(account, 0, sizeof *account);
  account->jid = ROMEO;
  omemo_callbacks callbacks = account_callbacks(account);
  callbacks.decide_trust = NULL;
  callbacks.evaluate_trust = NULL;
  CHECK(omemo_storage_memory_new(&storage) == OMEMO_OK);
  CHECK(omemo_config_set_jid(config, ROMEO) == OMEMO_OK);
  CHECK(omemo_config_set_namespaces(config, &world_ns, 1) == OMEMO_OK);
  CHECK(omemo_config_set_storage(config, storage) == OMEMO_OK);
  CHECK(omemo_config_set_callbacks(config, &callbacks, account, on_destroy) == OMEMO_OK);
  if (level) CHECK(omemo_config_set_default_trust_level_name(config, level) == OMEMO_OK);
  CHECK(omemo_config_set_option(config, OMEMO_OPTION_TRUST_POLICY, (uint64_t)policy) == OMEMO_OK);
  CHECK(omemo_manager_new(config, &account->manager) == OMEMO_OK);
  omemo_storage_free(storage);
  omemo_config_free(config);
  account_connect(account);
}

static void without_decide_trust_the_default_level_decides(void) {
  static const int32_t policies[] = {OMEMO_ENCRYPT_WAIT, OMEMO_ENCRYPT_ALL, OMEMO_ENCRYPT_NOW};
  static const omemo_status ends_with[] = {OMEMO_ERR_TRUST_DECISION_FAILED, OMEMO_ERR_TRUST_DECISION_FAILED,
                                           OMEMO_ERR_NO_ELIGIBLE_DEVICES};
  struct account romeo, juliet;
  start_connected(&juliet, JULIET);
  juliet.later = false;
  start_without_dialogs(&romeo, NULL, OMEMO_TRUST_POLICY_ASK);
  for (size_t i = 0; i < 3; i++) {
    omemo_draft *draft = draft_to(JULIET, "text");
    bool undecided = false;
    CHECK(omemo_draft_set_policy(draft, policies[i]) == OMEMO_OK);
    omemo_result *result = encrypted(&romeo, draft);
    CHECK(omemo_result_status(result) == ends_with[i] && omemo_result_message_count(result) == 0);
    for (size_t row = 0; row < omemo_result_row_count(result); row++)
      undecided |= omemo_result_row_status(result, row) == OMEMO_ERR_UNDECIDED;
    CHECK(undecided);
    CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
    CHECK(romeo.told[OMEMO_NOTICE_UNDECIDED] == i + 1); /* no dialog says so */
    omemo_result_free(result);
  }
  account_free(&romeo);
  start_without_dialogs(&romeo, OMEMO_TRUST_LEVEL_NAME_TRUSTED, OMEMO_TRUST_POLICY_ASK);
  omemo_result *result = encrypted(&romeo, draft_to(JULIET, "text"));
  CHECK(omemo_result_status(result) == OMEMO_OK && omemo_result_message_count(result) == 1);
  deliver(&romeo, &juliet, omemo_message_xml(omemo_result_message(result, 0), NULL), "text");
  omemo_result_free(result);
  account_free(&romeo);
  account_free(&juliet);
}

/* Of Juliet's devices that romeo knows, how many have this level and this core trust. */
static unsigned levels(const struct account *romeo, const char *level, omemo_core_trust core_trust) {
  omemo_devices *devices = NULL;
  unsigned count = 0;
  CHECK(omemo_manager_devices(romeo->manager, JULIET, &devices) == OMEMO_OK);
  for (size_t i = 0; i < omemo_devices_count(devices); i++)
    count += strcmp(omemo_devices_trust_level_name(devices, i), level) == 0 &&
             omemo_devices_core_trust(devices, i) == core_trust;
  omemo_devices_free(devices);
  return count;
}

static void without_dialogs_a_policy_decides(void) {
  static const omemo_trust_policy policies[] = {OMEMO_TRUST_POLICY_TOFU, OMEMO_TRUST_POLICY_BTBV};
  static const int32_t encrypt_policies[] = {OMEMO_ENCRYPT_WAIT, OMEMO_ENCRYPT_ALL};
  for (size_t i = 0; i < 4; i++) {
    struct account romeo, juliet, tablet;
    struct end refreshed = {0};
    bool first_only = policies[i / 2] == OMEMO_TRUST_POLICY_TOFU;
    server_wipe();
    start_connected(&juliet, JULIET);
    juliet.later = false;
    start_without_dialogs(&romeo, NULL, policies[i / 2]);
    omemo_draft *draft = draft_to(JULIET, "text");
    CHECK(omemo_draft_set_policy(draft, encrypt_policies[i % 2]) == OMEMO_OK);
    omemo_result *result = encrypted(&romeo, draft);
    CHECK(omemo_result_status(result) == OMEMO_OK && omemo_result_message_count(result) == 1);
    deliver(&romeo, &juliet, omemo_message_xml(omemo_result_message(result, 0), NULL), "text");
    omemo_result_free(result);
    CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
    CHECK(romeo.told[OMEMO_NOTICE_BLINDLY_TRUSTED] == 1 && romeo.told[OMEMO_NOTICE_UNDECIDED] == 0);
    CHECK(levels(&romeo, OMEMO_TRUST_LEVEL_NAME_BLINDLY_TRUSTED, OMEMO_CORE_TRUSTED) == 1);
    /* A second device. */
    start_connected(&tablet, JULIET);
    CHECK(omemo_manager_refresh_devices(romeo.manager, JULIET, NULL, on_done, &refreshed, NULL) == OMEMO_OK);
    settle(&romeo, 0);
    result = encrypted(&romeo, draft_to(JULIET, "text"));
    CHECK(omemo_result_status(result) == (first_only ? OMEMO_ERR_TRUST_DECISION_FAILED : OMEMO_OK));
    omemo_result_free(result);
    CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
    CHECK(romeo.told[OMEMO_NOTICE_BLINDLY_TRUSTED] == (first_only ? 1 : 2));
    CHECK(romeo.told[OMEMO_NOTICE_UNDECIDED] == (first_only ? 1 : 0));
    CHECK(levels(&romeo, OMEMO_TRUST_LEVEL_NAME_UNDECIDED, OMEMO_CORE_UNDECIDED) == (first_only ? 1 : 0));
    account_free(&romeo);
    account_free(&juliet);
    account_free(&tablet);
  }
}

static void content_without_a_text_is_shown_without_a_body(void) {
  static const char envelope[] = "<envelope xmlns='urn:xmpp:sce:1'><content>"
                                 "<received xmlns='urn:xmpp:receipts' id='1'/></content></envelope>";
  const char *bytes = strcmp(world_ns, OMEMO_NS_2) == 0 ? envelope : "\xff\xfe";
  struct account romeo, juliet;
  start_pair(&juliet, JULIET, &romeo, ROMEO);
  omemo_draft *draft = omemo_draft_new();
  omemo_decrypted *decrypted = NULL;
  size_t len = 0;
  CHECK(omemo_draft_add_recipient(draft, JULIET) == OMEMO_OK);
  CHECK(omemo_draft_set_plaintext(draft, world_ns, (const uint8_t *)bytes, strlen(bytes)) == OMEMO_OK);
  omemo_result *result = encrypted(&romeo, draft);
  const char *xml = omemo_message_xml(omemo_result_message(result, 0), NULL);
  if (!CHECK(xml != NULL)) return;
  CHECK(omemo_manager_decrypt_xml(juliet.manager, ROMEO, NULL, xml, strlen(xml), &decrypted) == OMEMO_OK);
  CHECK(omemo_decrypted_action(decrypted) == OMEMO_ACTION_SHOW && omemo_decrypted_status(decrypted) == OMEMO_OK);
  const uint8_t *plaintext = omemo_decrypted_plaintext(decrypted, &len);
  CHECK(omemo_decrypted_body(decrypted) == NULL && plaintext && len == strlen(bytes) && !memcmp(plaintext, bytes, len));
  omemo_decrypted_free(decrypted);
  omemo_result_free(result);
  account_free(&romeo);
  account_free(&juliet);
}

static void a_stanza_that_holds_no_message_is_not_shown(void) {
  struct account romeo, juliet;
  start_pair(&juliet, JULIET, &romeo, ROMEO);
  omemo_result *result = encrypted(&romeo, draft_to(JULIET, "text"));
  const char *encrypted_xml = omemo_message_xml(omemo_result_message(result, 0), NULL);
  /* What stands before the message and behind it; a carbon that is passed in whole may hide a text. */
  static const struct {
    const char *before, *after;
    omemo_action action;
  } stanzas[] = {{"<message type='error'>", "</message>", OMEMO_ACTION_HIDE},
                 {"<message><body>text</body></message>", NULL, OMEMO_ACTION_HIDE},
                 {"<message><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message>",
                  "</message></forwarded></received></message>", OMEMO_ACTION_WARN}};
  if (!CHECK(encrypted_xml != NULL)) return;
  for (size_t i = 0; i < sizeof stanzas / sizeof *stanzas; i++) {
    omemo_decrypted *decrypted = NULL;
    char *xml = need(malloc(strlen(encrypted_xml) + 256));
    strcpy(xml, stanzas[i].before);
    if (stanzas[i].after) strcat(strcat(xml, encrypted_xml), stanzas[i].after);
    CHECK(omemo_manager_decrypt_xml(juliet.manager, ROMEO, NULL, xml, strlen(xml), &decrypted) == OMEMO_OK);
    CHECK(omemo_decrypted_status(decrypted) == OMEMO_ERR_MALFORMED);
    CHECK(omemo_decrypted_action(decrypted) == stanzas[i].action);
    omemo_decrypted_free(decrypted);
    free(xml);
  }
  omemo_result_free(result);
  account_free(&romeo);
  account_free(&juliet);
}

unsigned contract_messages(void) {
  RUN(the_same_recipients_keep_their_order);
  RUN(messages_go_both_ways);
  RUN(half_a_success_is_reported);
  RUN(questions_of_trust);
  RUN(without_recipients_the_own_devices_are_served);
  RUN(another_own_device_that_was_taken_off_stays_off);
  RUN(without_decide_trust_the_default_level_decides);
  RUN(without_dialogs_a_policy_decides);
  RUN(a_stanza_that_holds_no_message_is_not_shown);
  server_wipe();
  run_in_both("content_without_a_text_is_shown_without_a_body", content_without_a_text_is_shown_without_a_body);
  server_wipe();
  return cases_failed;
}
