/* The store of docs/storage.md, used as that page says: an account outlives its manager in it, and belongs to its JID.
 * scripts/suites/c.sh writes the page's code into page_storage_code.h first.
 */
#define _POSIX_C_SOURCE 200809L
#include "page_storage_code.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int failures;

static void check(const char *name, int good) {
  printf("%s %s\n", good ? "ok" : "not ok", name);
  if (!good) failures++;
}

static void fetch_device_list(void *user_data, omemo_request request, const char *ns, const char *jid) {
  (void)user_data, (void)ns, (void)jid;
  omemo_request_reject(request, OMEMO_REJECT_NOT_FOUND);
}

static void fetch_bundle(void *user_data, omemo_request request, const char *ns, const char *jid, uint32_t device) {
  (void)user_data, (void)ns, (void)jid, (void)device;
  omemo_request_reject(request, OMEMO_REJECT_NOT_FOUND);
}

static void publish_device_list(void *user_data, omemo_request request, const char *ns, const omemo_device_list *list) {
  (void)user_data, (void)ns, (void)list;
  omemo_request_resolve(request);
}

static void publish_bundle(void *user_data, omemo_request request, const char *ns, uint32_t device,
                           const omemo_bundle *bundle) {
  (void)user_data, (void)ns, (void)device, (void)bundle;
  omemo_request_resolve(request);
}

static void send_message(void *user_data, omemo_request request, const char *jid, const omemo_message *message) {
  (void)user_data, (void)jid, (void)message;
  omemo_request_resolve(request);
}

static void decide_trust(void *user_data, omemo_request request, const omemo_devices *undecided, const char *context) {
  (void)user_data, (void)undecided, (void)context;
  omemo_request_resolve(request);
}

/* Opens the account in the store of this file. */
static omemo_status open_account(struct store *store, const char *path, const char *jid, omemo_manager **manager) {
  omemo_callbacks callbacks = {0};
  omemo_config *config = omemo_config_new();
  omemo_storage *storage = NULL;
  omemo_status status = store_open(store, path, &storage);
  callbacks.struct_size = sizeof callbacks;
  callbacks.fetch_device_list = fetch_device_list;
  callbacks.fetch_bundle = fetch_bundle;
  callbacks.publish_device_list = publish_device_list;
  callbacks.publish_bundle = publish_bundle;
  callbacks.send_message = send_message;
  callbacks.decide_trust = decide_trust;
  omemo_config_set_jid(config, jid);
  omemo_config_set_namespaces(config, &(const char *){OMEMO_NS_2}, 1);
  omemo_config_set_storage(config, storage);
  omemo_config_set_callbacks(config, &callbacks, NULL, NULL);
  if (status == OMEMO_OK) status = omemo_manager_new(config, manager);
  omemo_config_free(config);
  omemo_storage_free(storage);
  return status;
}

/* Id and fingerprint of this device. */
static void own_device(omemo_manager *manager, uint32_t *id, char *fingerprint, size_t size) {
  omemo_devices *devices = NULL;
  const char *text = NULL;
  *id = 0;
  *fingerprint = '\0';
  if (omemo_manager_devices(manager, NULL, &devices) != OMEMO_OK) return;
  *id = omemo_devices_id(devices, 0);
  text = omemo_devices_fingerprint(devices, 0);
  if (text) snprintf(fingerprint, size, "%s", text);
  omemo_devices_free(devices);
}

int main(void) {
  char path[] = "/tmp/omemo-page-XXXXXX", wal[64], shm[64], first[256], second[256];
  struct store store;
  sqlite3 *history = NULL;
  omemo_manager *manager = NULL;
  omemo_result *result = NULL;
  omemo_op op = 0;
  uint32_t id = 0, again = 0;
  const int file = mkstemp(path);
  if (file < 0) return 1;
  close(file);

  check("the store opens", open_account(&store, path, "romeo@montague.lit", &manager) == OMEMO_OK);
  check("connected starts", omemo_manager_connected(manager, OMEMO_CATCH_UP_NONE, NULL, NULL, &op) == OMEMO_OK);
  result = omemo_manager_wait(manager, op, 10000);
  check("connected completes", omemo_result_status(result) == OMEMO_OK);
  omemo_result_free(result);
  own_device(manager, &id, first, sizeof first);
  check("there is a device", id != 0 && first[0] != '\0');
  omemo_manager_free(manager);
  check("the store is closed with the manager", store.db == NULL);

  manager = NULL;
  check("the store opens again", open_account(&store, path, "romeo@montague.lit", &manager) == OMEMO_OK);
  sqlite3_open(":memory:", &history);
  sqlite3_exec(history, "CREATE TABLE history (receipt INTEGER UNIQUE, room TEXT, sender TEXT, text TEXT)", NULL, NULL,
               NULL);
  deliver_what_is_left(manager, history);
  check("nothing was left to deliver", sqlite3_total_changes(history) == 0);
  sqlite3_close(history);
  own_device(manager, &again, second, sizeof second);
  check("it is the same device", again == id && strcmp(first, second) == 0);
  omemo_manager_free(manager);

  manager = NULL;
  check("it is nobody else's", open_account(&store, path, "juliet@capulet.lit", &manager) == OMEMO_ERR_STORAGE_ACCOUNT);
  check("a refused store is closed, too", store.db == NULL && manager == NULL);

  snprintf(wal, sizeof wal, "%s-wal", path);
  snprintf(shm, sizeof shm, "%s-shm", path);
  unlink(path);
  unlink(wal);
  unlink(shm);
  return failures == 0 ? 0 : 1;
}
