/* libomemo through its C API, measured: a message to 1, 10, 100, 1,000 and 10,000 devices, with the store in memory.
 * Prints {"op", "us"} one a line. Sessions exist and are not confirmed yet, as for the peers.
 *
 * The devices are real: each is an account of its own for a moment, whose bundle is kept. Ten of them share a JID. Of
 * 10,000 devices a thousand are real; the others, of other JIDs, show the bundles of these.
 *
 * At the end two accounts write in turns to 100 and to 10,000 devices, as often as it takes to reach as many devices,
 * so that processor and heap are in the same state for both. Prints {"op", "value", "limit"}: how many times what a
 * device of 100 costs one of 10,000 does.
 */
#define _POSIX_C_SOURCE 200809L
#include "../samples.h"
#include <omemo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEVICES = 1000, PER_JID = 10, MAX_SAMPLES = 2000, ROUNDS = 15 };

/* A device of somebody, as the server knows it. */
static struct {
  uint32_t id;
  char *bundle;
} known[DEVICES];
static size_t making; /* the device that is being made */

static void die(const char *why) {
  fprintf(stderr, "message: %s\n", why);
  exit(1);
}

static void jid_of(char *jid, size_t size, size_t device) {
  snprintf(jid, size, "device%u@capulet.lit", (unsigned)(device / PER_JID));
}

/* -- questions of the sender -- */
static void fetch_device_list(void *user_data, omemo_request request, const char *ns, const char *jid) {
  unsigned group = 0;
  (void)user_data;
  if (sscanf(jid, "device%u@", &group) != 1) {
    omemo_request_reject(request, OMEMO_REJECT_NOT_FOUND); /* our own */
    return;
  }
  omemo_device_list *list = omemo_device_list_new(ns);
  for (size_t i = 0; i < PER_JID; i++)
    if (known[(group * PER_JID + i) % DEVICES].id)
      omemo_device_list_add(list, known[(group * PER_JID + i) % DEVICES].id, NULL, NULL);
  omemo_request_resolve_device_list(request, list);
  omemo_device_list_free(list);
}

static void fetch_bundle(void *user_data, omemo_request request, const char *ns, const char *jid, uint32_t device) {
  unsigned group = 0;
  (void)user_data, (void)ns;
  if (sscanf(jid, "device%u@", &group) != 1) die("a bundle of nobody");
  for (size_t i = 0; i < PER_JID; i++)
    if (known[(group * PER_JID + i) % DEVICES].id == device) {
      const char *xml = known[(group * PER_JID + i) % DEVICES].bundle;
      omemo_request_resolve_xml(request, xml, strlen(xml));
      return;
    }
  die("a bundle of nobody");
}

static void publish_device_list(void *user_data, omemo_request request, const char *ns, const omemo_device_list *list) {
  (void)user_data, (void)ns, (void)list;
  omemo_request_resolve(request);
}

static void publish_bundle(void *user_data, omemo_request request, const char *ns, uint32_t device,
                           const omemo_bundle *bundle) {
  (void)ns;
  if (user_data == known) { /* a device in the making */
    size_t len = 0;
    const char *xml = omemo_bundle_xml(bundle, &len);
    char *copy = malloc(len + 1);
    if (!copy) die("out of memory");
    memcpy(copy, xml, len + 1);
    free(known[making].bundle);
    known[making].bundle = copy;
    known[making].id = device;
  }
  omemo_request_resolve(request);
}

static void send_message(void *user_data, omemo_request request, const char *jid, const omemo_message *message) {
  (void)user_data, (void)jid, (void)message;
  omemo_request_resolve(request);
}

static void decide_trust(void *user_data, omemo_request request, const omemo_devices *undecided, const char *context) {
  (void)user_data, (void)context;
  for (size_t i = 0; i < omemo_devices_count(undecided); i++)
    omemo_request_decide(request, i, OMEMO_TRUST_LEVEL_NAME_TRUSTED);
  omemo_request_resolve(request);
}

static void finish(omemo_manager *manager, omemo_op op, size_t messages) {
  omemo_result *result = omemo_manager_wait(manager, op, -1);
  if (omemo_result_status(result) != OMEMO_OK) die(omemo_result_detail(result));
  if (omemo_result_message_count(result) != messages) die("not as many messages as expected");
  omemo_result_free(result);
}

static omemo_manager *account(const char *jid, void *user_data) {
  static const char *const namespaces[] = {OMEMO_NS_2}; /* as the peers */
  omemo_callbacks callbacks = {0};
  omemo_config *config = omemo_config_new();
  omemo_storage *storage = NULL;
  omemo_manager *manager = NULL;
  omemo_op op = 0;
  callbacks.struct_size = sizeof callbacks;
  callbacks.fetch_device_list = fetch_device_list;
  callbacks.fetch_bundle = fetch_bundle;
  callbacks.publish_device_list = publish_device_list;
  callbacks.publish_bundle = publish_bundle;
  callbacks.send_message = send_message;
  callbacks.decide_trust = decide_trust;
  if (omemo_storage_memory_new(&storage) != OMEMO_OK) die("no storage");
  omemo_config_set_jid(config, jid);
  omemo_config_set_namespaces(config, namespaces, 1);
  omemo_config_set_storage(config, storage);
  omemo_config_set_callbacks(config, &callbacks, user_data, NULL);
  if (omemo_manager_new(config, &manager) != OMEMO_OK) die(omemo_config_error(config));
  omemo_manager_connected(manager, OMEMO_CATCH_UP_NONE, NULL, NULL, &op);
  finish(manager, op, 0);
  omemo_config_free(config);
  omemo_storage_free(storage);
  return manager;
}

static double encrypt(omemo_manager *manager, const omemo_draft *draft) {
  omemo_op op = 0;
  const double start = seconds();
  if (omemo_manager_encrypt(manager, draft, NULL, NULL, &op) != OMEMO_OK) die("encrypt did not start");
  finish(manager, op, 1);
  return seconds() - start;
}

/* One account that writes to so many devices. */
struct sender {
  size_t devices;
  omemo_manager *manager;
  omemo_draft *draft;
  double first; /* seconds that the first message took */
};

static struct sender sender_to(size_t devices) {
  static size_t made = 0;
  struct sender sender = {devices, NULL, omemo_draft_new(), 0};
  char jid[64];
  for (; made < devices && made < DEVICES; made++) {
    making = made;
    jid_of(jid, sizeof jid, made);
    omemo_manager_free(account("maker@capulet.lit", known));
  }
  sender.manager = account("romeo@montague.lit", NULL);
  for (size_t device = 0; device < devices; device += PER_JID) {
    jid_of(jid, sizeof jid, device);
    omemo_draft_add_recipient(sender.draft, jid);
  }
  omemo_draft_set_body(sender.draft,
                       "But, soft! what light through yonder window breaks? It is the east, and Juliet is the sun.");
  sender.first = encrypt(sender.manager, sender.draft);
  return sender;
}

static void sender_free(struct sender sender) {
  omemo_draft_free(sender.draft);
  omemo_manager_free(sender.manager);
}

static double median(double *samples, size_t count) {
  qsort(samples, count, sizeof *samples, compare);
  return samples[count / 2];
}

static void in_turns(struct sender few, struct sender many) {
  static double of_few[ROUNDS], of_many[ROUNDS];
  for (size_t round = 0; round < ROUNDS; round++) {
    of_few[round] = 0;
    for (size_t reached = 0; reached < many.devices; reached += few.devices)
      of_few[round] += encrypt(few.manager, few.draft);
    of_many[round] = encrypt(many.manager, many.draft);
  }
  printf("{\"op\": \"message_per_device_10000_by_100\", \"value\": %.2f, \"limit\": 1.3}\n",
         median(of_many, ROUNDS) / median(of_few, ROUNDS));
}

int main(int argc, char **argv) {
  static double samples[MAX_SAMPLES];
  static const size_t counts[] = {1, 10, 100, 1000, 10000};
  const double budget = argc > 1 ? atof(argv[1]) : 0.2;
  struct sender hundred = {0, NULL, NULL, 0};
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
    struct sender sender = sender_to(counts[c]);
    size_t count = 0;
    double spent = 0;
    printf("{\"op\": \"first_message_%u\", \"us\": %.3f}\n", (unsigned)counts[c], sender.first * 1e6);
    while (count < 3 || (spent < budget && count < 200)) {
      samples[count] = encrypt(sender.manager, sender.draft);
      spent += samples[count++];
    }
    printf("{\"op\": \"message_%u\", \"us\": %.3f}\n", (unsigned)counts[c], median(samples, count) * 1e6);
    fflush(stdout);
    if (counts[c] == 10000) in_turns(hundred, sender);
    if (counts[c] == 100) hundred = sender;
    else sender_free(sender);
  }
  sender_free(hundred);
  for (size_t i = 0; i < DEVICES; i++) free(known[i].bundle);
  return 0;
}
