/* quickstart.c - two accounts, three devices, one process, no network: everything is answered inside the callbacks.
 *
 *   cc quickstart.c $(pkg-config --cflags --libs omemo) -o quickstart
 *   ./quickstart
 *
 * Romeo has one device, Juliet two. The functions below the server are what a client has to write; a client with a
 * network keeps the request, sends its iq, and answers when the answer comes.
 */
#include <omemo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct account {
  const char *name, *jid, *file;
  omemo_manager *manager;
};

static struct account accounts[] = {
    {"Romeo", "romeo@montague.lit", "quickstart-romeo.db", NULL},
    {"Juliet's phone", "juliet@capulet.lit", "quickstart-phone.db", NULL},
    {"Juliet's desktop", "juliet@capulet.lit", "quickstart-desktop.db", NULL},
};
enum { ACCOUNTS = sizeof accounts / sizeof accounts[0] };

static int shown; /* messages that somebody could read */

static void die(const char *why) {
  fprintf(stderr, "quickstart: %s\n", why);
  exit(1);
}

/* -- a server with room for 32 PEP items -- */
static struct {
  char node[256];
  char *xml;
} server[32];

static char **item(const char *ns, const char *jid, uint32_t device) {
  char node[256];
  snprintf(node, sizeof node, "%s %s %lu", ns, jid, (unsigned long)device);
  for (size_t i = 0; i < 32; i++)
    if (!server[i].xml || strcmp(server[i].node, node) == 0) {
      snprintf(server[i].node, sizeof server[i].node, "%s", node);
      return &server[i].xml;
    }
  die("the server is full");
  return NULL;
}

static void answer(omemo_request request, const char *ns, const char *jid, uint32_t device) {
  const char *xml = *item(ns, jid, device);
  if (xml) omemo_request_resolve_xml(request, xml, strlen(xml));
  else omemo_request_reject(request, OMEMO_REJECT_NOT_FOUND);
}

static void publish(omemo_request request, const char *ns, const char *jid, uint32_t device, const char *xml) {
  char **slot = item(ns, jid, device), *copy = malloc(strlen(xml) + 1);
  if (!copy) die("out of memory");
  free(*slot);
  *slot = strcpy(copy, xml);
  omemo_request_resolve(request);
}

/* -- what the library asks; device 0 stands for the device list -- */
static void fetch_device_list(void *user_data, omemo_request request, const char *ns, const char *jid) {
  (void)user_data;
  answer(request, ns, jid, 0);
}

static void fetch_bundle(void *user_data, omemo_request request, const char *ns, const char *jid, uint32_t device) {
  (void)user_data;
  answer(request, ns, jid, device);
}

static void publish_device_list(void *user_data, omemo_request request, const char *ns, const omemo_device_list *list) {
  struct account *account = user_data;
  publish(request, ns, account->jid, 0, omemo_device_list_xml(list, NULL));
  for (size_t i = 0; i < ACCOUNTS; i++) /* the server tells everybody who is online (XEP-0163) */
    if (accounts[i].manager) omemo_manager_update_device_list(accounts[i].manager, account->jid, list);
}

static void publish_bundle(void *user_data, omemo_request request, const char *ns, uint32_t device,
                           const omemo_bundle *bundle) {
  publish(request, ns, ((struct account *)user_data)->jid, device, omemo_bundle_xml(bundle, NULL));
}

static void delete_bundle(void *user_data, omemo_request request, const char *ns, uint32_t device) {
  char **slot = item(ns, ((struct account *)user_data)->jid, device);
  free(*slot);
  *slot = NULL;
  omemo_request_resolve(request);
}

/* What comes in, to whichever devices of its recipient and as a copy to the other devices of its sender. */
static void receive(struct account *account, const char *from, const char *xml) {
  omemo_decrypted *decrypted = NULL;
  if (omemo_manager_decrypt_xml(account->manager, from, NULL, xml, strlen(xml), &decrypted) != OMEMO_OK)
    die("nothing happened: a client keeps the stanza and gives it again");
  if (omemo_decrypted_action(decrypted) == OMEMO_ACTION_SHOW) {
    printf("    %s reads: %s   [%s]\n", account->name, omemo_decrypted_body(decrypted),
           omemo_decrypted_trust_level_name(decrypted));
    shown++;
  } else if (omemo_decrypted_action(decrypted) == OMEMO_ACTION_WARN) {
    printf("    %s cannot read: %s\n", account->name, omemo_decrypted_detail(decrypted));
  }
  omemo_decrypted_free(decrypted);
}

static void deliver(const struct account *sender, const char *to, const omemo_message *message) {
  const char *xml = omemo_message_xml(message, NULL);
  for (size_t i = 0; i < ACCOUNTS; i++)
    if (&accounts[i] != sender && (strcmp(accounts[i].jid, to) == 0 || strcmp(accounts[i].jid, sender->jid) == 0))
      receive(&accounts[i], sender->jid, xml);
}

static void send_message(void *user_data, omemo_request request, const char *jid, const omemo_message *message) {
  deliver(user_data, jid, message); /* one that no user sees, as the answer to a key exchange */
  omemo_request_resolve(request);
}

static void decide_trust(void *user_data, omemo_request request, const omemo_devices *undecided, const char *context) {
  printf("  %s is asked, before writing to %s:\n", ((struct account *)user_data)->name, context);
  for (size_t i = 0; i < omemo_devices_count(undecided); i++) {
    printf("    trust %s  %s? yes\n", omemo_devices_jid(undecided, i), omemo_devices_fingerprint(undecided, i));
    omemo_request_decide(request, i, OMEMO_TRUST_LEVEL_NAME_TRUSTED);
  }
  omemo_request_resolve(request);
}

/* -- the story: this program starts an operation and waits for it; one with a loop gives a callback instead -- */
static void finish(const struct account *account, omemo_op op, const char *to) {
  omemo_result *result = omemo_manager_wait(account->manager, op, 10000);
  if (omemo_result_status(result) != OMEMO_OK) die(omemo_result_detail(result));
  for (size_t i = 0; i < omemo_result_message_count(result); i++) deliver(account, to, omemo_result_message(result, i));
  omemo_result_free(result);
  for (size_t i = 0; i < ACCOUNTS; i++) /* answers to key exchanges, bundles with new pre keys */
    omemo_manager_run(accounts[i].manager);
}

static void start(struct account *account) {
  static const omemo_callbacks callbacks = {.struct_size = sizeof(omemo_callbacks),
                                            .fetch_device_list = fetch_device_list,
                                            .fetch_bundle = fetch_bundle,
                                            .publish_device_list = publish_device_list,
                                            .publish_bundle = publish_bundle,
                                            .send_message = send_message,
                                            .decide_trust = decide_trust,
                                            .delete_bundle = delete_bundle};
  omemo_config *config = omemo_config_new();
  omemo_storage *storage = NULL;
  omemo_devices *own = NULL;
  omemo_op op = 0;
  remove(account->file); /* a client keeps it; here the server forgets everything, too */
  if (omemo_storage_sqlite_open(account->file, &storage) != OMEMO_OK) die(omemo_storage_error(storage));
  omemo_config_set_jid(config, account->jid);
  omemo_config_set_storage(config, storage);
  omemo_config_set_callbacks(config, &callbacks, account, NULL);
  if (omemo_manager_new(config, &account->manager) != OMEMO_OK) die(omemo_config_error(config));
  omemo_storage_free(storage);
  omemo_config_free(config);
  omemo_manager_connected(account->manager, OMEMO_CATCH_UP_NONE, NULL, NULL, &op);
  finish(account, op, NULL);
  if (omemo_manager_devices(account->manager, NULL, &own) != OMEMO_OK) die("this device is not known");
  printf("%s is device %lu of %s\n    %s\n", account->name, (unsigned long)omemo_devices_id(own, 0), account->jid,
         omemo_devices_fingerprint(own, 0));
  omemo_devices_free(own);
}

static void say(const struct account *account, const char *to, const char *text) {
  omemo_draft *draft = omemo_draft_new();
  omemo_op op = 0;
  printf("  %s writes to %s\n", account->name, to);
  omemo_draft_add_recipient(draft, to);
  omemo_draft_set_body(draft, text);
  omemo_manager_encrypt(account->manager, draft, NULL, NULL, &op);
  omemo_draft_free(draft);
  finish(account, op, to);
}

int main(void) {
  const struct account *romeo = &accounts[0], *phone = &accounts[1], *desktop = &accounts[2];
  for (size_t i = 0; i < ACCOUNTS; i++) start(&accounts[i]);
  printf("\n");
  say(romeo, phone->jid, "But, soft! what light through yonder window breaks?");
  say(phone, romeo->jid, "Ay me!");
  say(romeo, phone->jid, "She speaks.");
  say(desktop, romeo->jid, "O Romeo, Romeo! wherefore art thou Romeo?");
  for (size_t i = 0; i < ACCOUNTS; i++) {
    omemo_manager_free(accounts[i].manager);
    remove(accounts[i].file);
  }
  for (size_t i = 0; i < 32; i++) free(server[i].xml);
  return shown == 4 * 2 ? 0 : 1; /* each message is read on two devices */
}
