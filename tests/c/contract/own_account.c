/* What a client does about its own device and account: label, repair, removal, a new identity, the end. */
#include "contract.h"

static void on_server(char *list, size_t size, const char *jid) {
  char *xml = server_get(OMEMO_NS_2, jid, 0);
  snprintf(list, size, "%s", xml ? xml : "");
  free(xml);
}

static bool is_listed(const char *jid, uint32_t device) {
  char list[4096];
  char id[32];
  on_server(list, sizeof list, jid);
  snprintf(id, sizeof id, "id='%lu'", (unsigned long)device);
  if (strstr(list, id)) return true;
  snprintf(id, sizeof id, "id=\"%lu\"", (unsigned long)device);
  return strstr(list, id) != NULL;
}

static uint32_t own_id(const struct account *account) {
  uint32_t id = 0;
  CHECK(omemo_manager_device_id(account->manager, &id) == OMEMO_OK);
  return id;
}

/* The end of an operation that was started with op. */
static omemo_status ended(struct account *account, omemo_op op) {
  omemo_result *result = omemo_manager_wait(account->manager, op, 5000);
  omemo_status status = omemo_result_status(result);
  omemo_result_free(result);
  return status;
}

static void a_label_is_published_and_verified(void) {
  struct account romeo;
  struct end end = {0};
  omemo_devices *devices = NULL;
  omemo_op op = 0;
  char list[4096];
  char no_room[54];
  memset(no_room, 'x', 53);
  no_room[53] = '\0';
  start(&romeo, ROMEO);
  CHECK(omemo_manager_set_label(NULL, "phone", on_done, &end, &op) == OMEMO_ERR_NULL);
  CHECK(omemo_manager_set_label(romeo.manager, no_room, on_done, &end, &op) == OMEMO_ERR_LABEL);
  CHECK(omemo_manager_set_label(romeo.manager, "a\nb", on_done, &end, &op) == OMEMO_ERR_LABEL);
  CHECK(omemo_manager_set_label(romeo.manager, "\xff", on_done, &end, &op) == OMEMO_ERR_UTF8);
  no_room[32] = '\0';
  CHECK(omemo_manager_set_label(romeo.manager, no_room, on_done, &end, &op) == OMEMO_ERR_LABEL);
  CHECK(end.calls == 0 && op == 0);
  CHECK(omemo_manager_set_label(romeo.manager, "Romeo's <phone>", on_done, &end, &op) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(end.calls == 1 && end.op == op && end.status == OMEMO_ERR_OFFLINE);
  account_connect(&romeo);
  on_server(list, sizeof list, ROMEO);
  CHECK(strstr(list, "Romeo") != NULL && strstr(list, "labelsig") != NULL);
  CHECK(omemo_manager_devices(romeo.manager, NULL, &devices) == OMEMO_OK);
  CHECK(strcmp(omemo_devices_label(devices, 0), "Romeo's <phone>") == 0);
  CHECK(omemo_devices_label(devices, 1) == NULL && omemo_devices_label(NULL, 0) == NULL);
  CHECK(omemo_devices_session_state(devices, 0, OMEMO_NS_2) == OMEMO_SESSION_NONE);
  CHECK(omemo_devices_session_state(devices, 9, OMEMO_NS_2) == OMEMO_SESSION_NONE);
  CHECK(omemo_devices_session_state(devices, 0, NULL) == OMEMO_SESSION_NONE);
  omemo_devices_free(devices);
  CHECK(omemo_manager_set_label(romeo.manager, "", NULL, NULL, &op) == OMEMO_OK);
  CHECK(ended(&romeo, op) == OMEMO_OK);
  on_server(list, sizeof list, ROMEO);
  CHECK(strstr(list, "label") == NULL);
  CHECK(omemo_manager_devices(romeo.manager, NULL, &devices) == OMEMO_OK && omemo_devices_label(devices, 0) == NULL);
  omemo_devices_free(devices);
  account_free(&romeo);
}

static void sessions_have_a_state(void) {
  struct account romeo;
  struct account juliet;
  struct end end = {0};
  omemo_devices *devices = NULL;
  start(&romeo, ROMEO);
  start(&juliet, JULIET);
  account_connect(&juliet);
  account_connect(&romeo);
  CHECK(encrypt(&romeo, JULIET, on_done, &end, NULL) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(end.status == OMEMO_OK && omemo_manager_devices(romeo.manager, JULIET, &devices) == OMEMO_OK);
  CHECK(omemo_devices_session_state(devices, 0, OMEMO_NS_2) == OMEMO_SESSION_UNCONFIRMED);
  CHECK(omemo_devices_session_state(devices, 0, OMEMO_NS_LEGACY) == OMEMO_SESSION_NONE);
  omemo_devices_free(devices);
  omemo_decrypted *decrypted = NULL;
  CHECK(omemo_manager_decrypt_xml(juliet.manager, ROMEO, NULL, end.xml, strlen(end.xml), &decrypted) == OMEMO_OK);
  CHECK(omemo_decrypted_status(decrypted) == OMEMO_OK);
  omemo_decrypted_free(decrypted);
  settle(&juliet, 0);
  CHECK(omemo_manager_devices(juliet.manager, ROMEO, &devices) == OMEMO_OK);
  CHECK(omemo_devices_session_state(devices, 0, OMEMO_NS_2) == OMEMO_SESSION_CONFIRMED);
  omemo_devices_free(devices);
  free(end.xml);
  account_free(&romeo);
  account_free(&juliet);
}

static void what_is_wrong_is_found_and_repaired(void) {
  struct account romeo;
  omemo_op op = 0;
  start(&romeo, ROMEO);
  account_connect(&romeo);
  CHECK(omemo_manager_health(romeo.manager, "a/b", NULL, NULL, &op) == OMEMO_ERR_JID);
  CHECK(omemo_manager_health(romeo.manager, NULL, NULL, NULL, &op) == OMEMO_OK);
  omemo_result *report = omemo_manager_wait(romeo.manager, op, 5000);
  CHECK(omemo_result_status(report) == OMEMO_OK && omemo_result_row_count(report) == 2);
  CHECK(omemo_result_row_device(report, 0) == 0 && omemo_result_row_device(report, 1) == own_id(&romeo));
  omemo_result_free(report);
  CHECK(omemo_manager_health(romeo.manager, JULIET, NULL, NULL, &op) == OMEMO_OK);
  CHECK(ended(&romeo, op) == OMEMO_ERR_NO_DEVICES);
  server_wipe();
  CHECK(omemo_manager_ensure_consistency(romeo.manager, NULL, NULL, &op) == OMEMO_OK);
  CHECK(ended(&romeo, op) == OMEMO_OK && is_listed(ROMEO, own_id(&romeo)));
  server_put(OMEMO_NS_2, ROMEO, 0, "<devices xmlns='urn:xmpp:omemo:2'><device id='31'/><device id='32'/></devices>");
  CHECK(omemo_manager_clear_device_lists(romeo.manager, NULL, NULL, &op) == OMEMO_OK);
  CHECK(ended(&romeo, op) == OMEMO_OK && is_listed(ROMEO, own_id(&romeo)) && !is_listed(ROMEO, 31));
  account_free(&romeo);
}

static void a_device_is_removed(void) {
  struct account romeo;
  omemo_op op = 77;
  start(&romeo, ROMEO);
  CHECK(omemo_manager_remove_own_device(romeo.manager, 31, NULL, NULL, &op) == OMEMO_ERR_OFFLINE);
  CHECK(omemo_manager_clear_device_lists(romeo.manager, NULL, NULL, &op) == OMEMO_ERR_OFFLINE);
  CHECK(omemo_manager_ensure_consistency(romeo.manager, NULL, NULL, &op) == OMEMO_ERR_OFFLINE);
  CHECK(omemo_manager_health(romeo.manager, NULL, NULL, NULL, &op) == OMEMO_ERR_OFFLINE);
  CHECK(omemo_manager_delete_account(romeo.manager, NULL, NULL, &op) == OMEMO_ERR_OFFLINE);
  CHECK(omemo_manager_reset_identity(romeo.manager, NULL, NULL, &op) == OMEMO_ERR_NOT_READY && op == 77);
  server_put(OMEMO_NS_2, ROMEO, 0, "<devices xmlns='urn:xmpp:omemo:2'><device id='31'/></devices>");
  account_connect(&romeo);
  CHECK(is_listed(ROMEO, 31) && is_listed(ROMEO, own_id(&romeo)));
  CHECK(omemo_manager_remove_own_device(romeo.manager, 0, NULL, NULL, &op) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_manager_remove_own_device(romeo.manager, own_id(&romeo), NULL, NULL, &op) == OMEMO_ERR_ARGUMENT);
  CHECK(omemo_manager_remove_own_device(romeo.manager, 31, NULL, NULL, &op) == OMEMO_OK);
  CHECK(ended(&romeo, op) == OMEMO_OK && !is_listed(ROMEO, 31) && is_listed(ROMEO, own_id(&romeo)));
  account_free(&romeo);
}

static void a_new_identity_is_another_device(void) {
  struct account romeo;
  omemo_op op = 0;
  start(&romeo, ROMEO);
  account_connect(&romeo);
  uint32_t before = own_id(&romeo);
  CHECK(omemo_manager_reset_identity(romeo.manager, NULL, NULL, &op) == OMEMO_OK);
  CHECK(own_id(&romeo) != before); /* at once */
  CHECK(ended(&romeo, op) == OMEMO_OK);
  settle(&romeo, 0);
  CHECK(is_listed(ROMEO, own_id(&romeo)) && !is_listed(ROMEO, before));
  account_free(&romeo);
}

static void a_deleted_account_is_gone(void) {
  struct store store = {0};
  struct account romeo = {0};
  struct end end = {0};
  struct end other = {0};
  omemo_devices *devices = NULL;
  omemo_op op = 0;
  store.account = &romeo;
  romeo.jid = ROMEO;
  romeo.storage = store_open(&store);
  account_new(&romeo);
  account_connect(&romeo);
  uint32_t before = own_id(&romeo);
  CHECK(store.count > 2 && is_listed(ROMEO, before));
  romeo.later = true;
  CHECK(encrypt(&romeo, NOBODY, on_done, &other, NULL) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  romeo.later = false;
  CHECK(omemo_manager_delete_account(romeo.manager, on_done, &end, &op) == OMEMO_OK);
  while (end.calls == 0) CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(omemo_manager_run(romeo.manager) == OMEMO_OK);
  CHECK(end.calls == 1 && end.status == OMEMO_OK && other.calls == 1 && other.status == OMEMO_ERR_CANCELLED);
  CHECK(store.count == 0 && !is_listed(ROMEO, before));
  CHECK(omemo_manager_devices(romeo.manager, NULL, &devices) == OMEMO_ERR_CANCELLED && devices == NULL);
  CHECK(omemo_manager_connected(romeo.manager, 0, NULL, NULL, &op) == OMEMO_ERR_CANCELLED);
  CHECK(omemo_manager_set_label(romeo.manager, "x", NULL, NULL, &op) == OMEMO_ERR_CANCELLED);
  CHECK(encrypt(&romeo, NOBODY, on_done, &other, NULL) == OMEMO_ERR_CANCELLED);
  CHECK(omemo_manager_timeout(romeo.manager) == -1);
  account_free(&romeo);
  CHECK(store.count == 0 && end.calls == 1 && other.calls == 1);
  account_new(&romeo);
  account_connect(&romeo);
  CHECK(own_id(&romeo) != before && is_listed(ROMEO, own_id(&romeo)));
  omemo_storage_free(romeo.storage);
  account_free(&romeo);
  CHECK(store.destroyed == 1);
  store_wipe(&store);
}

unsigned contract_own_account(void) {
  RUN(a_label_is_published_and_verified);
  RUN(sessions_have_a_state);
  RUN(what_is_wrong_is_found_and_repaired);
  RUN(a_device_is_removed);
  RUN(a_new_identity_is_another_device);
  RUN(a_deleted_account_is_gone);
  server_wipe();
  return cases_failed;
}
