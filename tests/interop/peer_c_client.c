/* See peer_c_client.h. For tests only: linked with GPL libraries, never installed. */
#include "peer_c_client.h"
#include "peer_c_crypto.h"
#include "peer_c_stanza.h"

#include <stdlib.h>
#include <string.h>

static int fail(struct client *client, const char *class, const char *cause, const char *why) {
  const struct failure failure = {class, cause, why};
  client->failure = failure;
  return -1;
}

/* -- PEP, by questions to the parent -- */

static struct record ask(const char *question, enum version version, const char *jid, const uint32_t *device,
                         const char *xml) {
  struct record record = {NULL, NULL}, answer;
  record_string(&record, "ask", question);
  record_string(&record, "ns", stanza_namespace(version));
  record_string(&record, "jid", jid);
  if (device) record_number(&record, "device", *device);
  if (xml) record_string(&record, "xml", xml);
  record_write(&record, stdout);
  if (!record_read(&answer, stdin)) exit(0);
  return answer;
}

static const char *list_key(enum version version, const char *jid) {
  struct text key = text_of("", 0);
  text_addf(&key, "list %d %s", (int)version, jid);
  return text_string(key);
}

static void keep_list(struct client *client, enum version version, const char *jid, const char *xml) {
  table_put(&client->account.table, list_key(version, jid), xml, strlen(xml));
}

/* The list as it is known, or as the parent has it; "" when there is none; NULL when it cannot be had. */
static const char *list_of(struct client *client, enum version version, const char *jid) {
  const struct entry *entry = table_get(&client->account.table, list_key(version, jid));
  struct record answer;
  const char *xml;
  if (entry) return text_string(text_of(entry->value.data, entry->value.len));
  answer = ask("fetch_list", version, jid, NULL, NULL);
  if (record_find(&answer, "failed", NULL)) return NULL;
  xml = record_get(&answer, "xml", "");
  keep_list(client, version, jid, xml);
  return xml;
}

static int publish_bundle(struct client *client, enum version version) {
  const uint32_t device = account_device_id(&client->account);
  struct text xml;
  struct record answer;
  if (stanza_own_bundle(&client->account, version, &xml) < 0)
    return fail(client, "BundleUploadFailed", NULL, "the library cannot serialise its own keys");
  answer = ask("publish_bundle", version, client->jid, &device, text_string(xml));
  return record_find(&answer, "failed", NULL) ? fail(client, "BundleUploadFailed", NULL, "the parent says so") : 0;
}

/* Publishes the own list with this device in it, unless it is there already. */
static int publish_list(struct client *client, enum version version, const char *list) {
  const uint32_t device = account_device_id(&client->account);
  const char *xml;
  struct record answer;
  if (stanza_list_has(list, device)) return 0;
  xml = text_string(stanza_list_with(version, list, device));
  answer = ask("publish_list", version, client->jid, NULL, xml);
  if (record_find(&answer, "failed", NULL)) return fail(client, "DeviceListUploadFailed", NULL, "the parent says so");
  keep_list(client, version, client->jid, xml);
  return 0;
}

/* The next version that this client speaks, by its preference; 0 behind the last. */
#define EACH_VERSION(version, client)                                                                                  \
  for (int at_ = 0; at_ < 2 && ((version) = (client)->versions[at_]) != (enum version)0; at_++)

int client_join(struct client *client, uint32_t signed_pre_key_id, uint32_t first_pre_key) {
  const char *lists[2] = {"", ""};
  enum version version;
  uint32_t device;
  int known;
  EACH_VERSION(version, client) {
    lists[at_] = list_of(client, version, client->jid);
    if (!lists[at_]) return fail(client, "DeviceListDownloadFailed", NULL, "the parent says so");
  }
  do {
    device = 1 + crypto_below(INT32_MAX - 1);
    known = stanza_list_has(lists[0], device) || stanza_list_has(lists[1], device);
  } while (known);
  if (account_create(&client->account, device, signed_pre_key_id, first_pre_key) < 0)
    return fail(client, "InternalError", NULL, "the library makes no keys");
  EACH_VERSION(version, client)
  if (publish_bundle(client, version) < 0 || publish_list(client, version, lists[at_]) < 0) return -1;
  return 0;
}

int client_restart(struct client *client) {
  account_close(&client->account);
  if (account_open(&client->account) < 0) return fail(client, "InternalError", NULL, "the table cannot be opened");
  return 0;
}

int client_number(struct client *client, enum version version, uint32_t id) {
  if (account_single_pre_key(&client->account, id) < 0)
    return fail(client, "InternalError", NULL, "the library makes no key");
  return publish_bundle(client, version);
}

void client_close(struct client *client) {
  account_close(&client->account);
  table_free(&client->account.table);
  while (client->outbox) {
    struct letter *letter = client->outbox;
    client->outbox = letter->next;
    free(letter->jid);
    free(letter->xml);
    free(letter);
  }
  free(client->jid);
}

int client_push(struct client *client, enum version version, const char *jid, const char *list) {
  uint32_t *devices;
  size_t count;
  if (!version || stanza_list(version, list, &devices, &count) < 0)
    return fail(client, "ValueError", NULL, "no device list");
  keep_list(client, version, jid, list);
  for (int i = 0; i < 2; i++)
    if (client->versions[i] == version && strcmp(jid, client->jid) == 0) return publish_list(client, version, list);
  return 0;
}

/* -- sending -- */

/* Where keys for devices are collected, a stanza for each version. */
struct outgoing {
  struct encrypted stanzas[2]; /* as in client->versions */
  struct text material[2];     /* what goes through the sessions */
  struct record *answer;       /* for error_devices */
  uint32_t served;             /* devices of recipients; the own ones do not count */
};

static char *string_copy(const char *string) {
  char *copy = malloc(strlen(string) + 1);
  if (!copy) exit(1);
  return strcpy(copy, string);
}

static void post(struct client *client, const char *jid, const char *xml) {
  struct letter **place = &client->outbox;
  if (client->lose) {
    client->lose--;
    return;
  }
  while (*place) place = &(*place)->next;
  *place = calloc(1, sizeof **place);
  if (!*place) exit(1);
  (*place)->jid = string_copy(jid);
  (*place)->xml = string_copy(xml);
}

static int begin_session(struct client *client, struct address to) {
  struct record answer = ask("fetch_bundle", to.version, to.jid, &to.device, NULL);
  const char *xml = record_get(&answer, "xml", NULL);
  struct bundle bundle;
  if (record_find(&answer, "failed", NULL)) return fail(client, "BundleDownloadFailed", NULL, "the parent says so");
  if (!xml) return fail(client, "BundleNotFound", NULL, "no such item");
  if (stanza_bundle(to.version, xml, &bundle) < 0) return fail(client, "BundleDownloadFailed", NULL, "no bundle");
  if (session_begin(&client->account, to, &bundle) < 0)
    return fail(client, "KeyExchangeFailed", NULL, "the library refuses the bundle");
  return 0;
}

/* Adds a key for the device to the stanza, behind those that are there. */
static int add_key(struct client *client, struct encrypted *stanza, struct address to, struct text material) {
  struct key *key = text_alloc(sizeof *key), **place = &stanza->keys;
  if (!session_exists(&client->account, to) && begin_session(client, to) < 0) return -1;
  if (session_encrypt(&client->account, to, material, &key->data, &key->exchange) < 0)
    return fail(client, "EncryptionFailed", NULL, "the library does not encrypt");
  key->jid = to.jid;
  key->device = to.device;
  while (*place) place = &(*place)->next;
  *place = key;
  return 0;
}

static void add_device(struct client *client, struct outgoing *out, int at, const char *jid, uint32_t device) {
  const struct address to = {client->versions[at], jid, device};
  if (add_key(client, &out->stanzas[at], to, out->material[at]) == 0) {
    out->served += strcmp(jid, client->jid) != 0;
  } else {
    struct text error = text_of("", 0);
    text_addf(&error, "%s %lu %s", jid, (unsigned long)device, client->failure.class);
    record_add(out->answer, "error_devices", error);
  }
}

/* All devices of a JID but this one, each in the first version whose list has it. */
static int add_jid(struct client *client, struct outgoing *out, const char *jid) {
  const char *lists[2] = {"", ""};
  enum version version;
  EACH_VERSION(version, client) {
    uint32_t *devices;
    size_t count;
    lists[at_] = list_of(client, version, jid);
    if (!lists[at_] || stanza_list(version, lists[at_], &devices, &count) < 0)
      return fail(client, "DeviceListDownloadFailed", NULL, "no device list");
    for (size_t i = 0; i < count; i++) {
      const int own = devices[i] == account_device_id(&client->account) && strcmp(jid, client->jid) == 0;
      const int served = at_ == 1 && stanza_list_has(lists[0], devices[i]);
      if (!own && !served) add_device(client, out, at_, jid, devices[i]);
    }
  }
  return 0;
}

static int add_recipients(struct client *client, struct outgoing *out, const struct record *request) {
  const struct field *to = NULL;
  while ((to = record_find(request, "to", to)))
    if (strcmp(text_string(to->value), client->jid) != 0 && add_jid(client, out, text_string(to->value)) < 0) return -1;
  if (!out->served) return fail(client, "NoEligibleDevices", NULL, "no recipient can be served");
  return add_jid(client, out, client->jid);
}

static void start(struct client *client, struct outgoing *out, struct record *answer) {
  enum version version;
  memset(out, 0, sizeof *out);
  out->answer = answer;
  EACH_VERSION(version, client) {
    out->stanzas[at_].version = version;
    out->stanzas[at_].sender = account_device_id(&client->account);
    out->stanzas[at_].iv = crypto_random(12);
  }
}

/* Encrypts the text once for that version: the payload into the stanza, key and tag into the material. */
static int seal(struct client *client, struct encrypted *stanza, struct text *material, const char *text) {
  uint8_t tag[16];
  int code;
  *material = crypto_random(stanza->version == OMEMO2 ? 32 : 16);
  stanza->has_payload = 1;
  if (stanza->version == OMEMO2)
    code = crypto_payload_encrypt(&stanza->payload, tag, *material, stanza_wrap(text, client->jid));
  else code = crypto_gcm_encrypt(&stanza->payload, tag, *material, stanza->iv, text_of(text, strlen(text)));
  text_add(material, tag, sizeof tag);
  return code < 0 ? fail(client, "EncryptionFailed", NULL, "the payload") : 0;
}

int client_encrypt(struct client *client, const struct record *request, struct record *answer) {
  struct outgoing out;
  enum version version;
  start(client, &out, answer);
  EACH_VERSION(version, client)
  if (seal(client, &out.stanzas[at_], &out.material[at_], record_get(request, "text", "")) < 0) return -1;
  if (add_recipients(client, &out, request) < 0) return -1;
  if (client->lose) {
    client->lose--;
    return 0;
  }
  EACH_VERSION(version, client)
  if (out.stanzas[at_].keys) record_add(answer, "xml", stanza_write(&out.stanzas[at_]));
  return 0;
}

/* A key for something else, in the legacy namespace. With the field `tag`, 16 more bytes travel with it. */
int client_transport(struct client *client, const struct record *request, struct record *answer) {
  struct outgoing out;
  const enum version before[2] = {client->versions[0], client->versions[1]};
  struct text key = crypto_random(16), tag = crypto_random(16);
  const int with_tag = xml_true(record_get(request, "tag", NULL));
  int code;
  client->versions[0] = LEGACY;
  client->versions[1] = (enum version)0;
  start(client, &out, answer);
  out.material[0] = text_of(key.data, key.len);
  if (with_tag) text_add(&out.material[0], tag.data, tag.len);
  code = add_recipients(client, &out, request);
  memcpy(client->versions, before, sizeof before);
  if (code < 0) return -1;
  record_add(answer, "xml", stanza_write(&out.stanzas[0]));
  record_add(answer, "key", text_hex(key.data, key.len));
  if (with_tag) record_add(answer, "tag", text_hex(tag.data, tag.len));
  record_add(answer, "iv", text_hex(out.stanzas[0].iv.data, out.stanzas[0].iv.len));
  return 0;
}

/* A message without content for one device, into the outbox. */
static int post_empty(struct client *client, struct address to) {
  struct encrypted stanza = {
      .version = to.version, .sender = account_device_id(&client->account), .iv = crypto_random(12)};
  if (add_key(client, &stanza, to, to.version == OMEMO2 ? text_sized(32) : crypto_random(16)) < 0) return -1;
  post(client, to.jid, text_string(stanza_write(&stanza)));
  return 0;
}

int client_replace(struct client *client, const struct record *request) {
  const char *jid = record_get(request, "jid", "");
  uint32_t device = 0;
  enum version version;
  if (text_number(&device, record_get(request, "device", "")) < 0) return fail(client, "ValueError", NULL, "device");
  EACH_VERSION(version, client) {
    const struct address to = {version, jid, device};
    const char *list = list_of(client, version, jid);
    if (!list || !stanza_list_has(list, device)) continue;
    if (session_end(&client->account, to) < 0) return fail(client, "InternalError", NULL, "the session stays");
    return post_empty(client, to);
  }
  return fail(client, "NoEligibleDevices", NULL, "on no list");
}

void client_outbox(struct client *client, struct record *answer) {
  while (client->outbox) {
    struct letter *letter = client->outbox;
    record_string(answer, "jid", letter->jid);
    record_string(answer, "xml", letter->xml);
    client->outbox = letter->next;
    free(letter->jid);
    free(letter->xml);
    free(letter);
  }
}

/* -- receiving -- */

#define REFUSAL(code, class, cause)                                                                                    \
  { code, class, cause, #code }

/* The library's code as the class of an exception of python-omemo. */
static int refused(struct client *client, int code, int exchange) {
  const char *const of_key = exchange ? "KeyExchangeFailed" : "DecryptionFailed";
  const struct {
    int code;
    const char *class, *cause, *text;
  } refusals[] = {
      REFUSAL(SG_ERR_DUPLICATE_MESSAGE, "DecryptionFailed", "DuplicateMessageException"),
      REFUSAL(SG_ERR_NO_SESSION, "NoSession", NULL),
      REFUSAL(SG_ERR_INVALID_KEY_ID, "KeyExchangeFailed", NULL),
      REFUSAL(SG_ERR_UNTRUSTED_IDENTITY, "KeyExchangeFailed", NULL),
      REFUSAL(SG_ERR_INVALID_KEY, of_key, NULL),
      REFUSAL(SG_ERR_INVALID_PROTO_BUF, "DecryptionFailed", NULL),
      REFUSAL(SG_ERR_INVALID_VERSION, "DecryptionFailed", NULL),
      REFUSAL(SG_ERR_INVALID_MAC, "DecryptionFailed", NULL),
      REFUSAL(SG_ERR_INVALID_MESSAGE, "DecryptionFailed", NULL),
  };
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
    if (refusals[i].code == code) return fail(client, refusals[i].class, refusals[i].cause, refusals[i].text);
  return fail(client, "DecryptionFailed", NULL, "the library refuses the message");
}

/* What the first of our keys that decrypts holds. */
static int open_keys(struct client *client, const char *sender, const struct encrypted *stanza, struct text *material) {
  const struct address from = {stanza->version, sender, stanza->sender};
  fail(client, "MessageNotForUs", NULL, "no key for this device");
  for (const struct key *key = stanza->keys; key; key = key->next) {
    int code;
    if (key->device != account_device_id(&client->account) || (key->jid && strcmp(key->jid, client->jid) != 0))
      continue;
    code = session_decrypt(&client->account, from, key->data, key->exchange, material);
    if (code == 0) return 0;
    refused(client, code, key->exchange);
  }
  return -1;
}

/* What a client does when somebody began a session with it: the bundle without the used pre key, and an answer. */
static void follow_up(struct client *client, struct address from) {
  enum version version;
  if (!client->account.used) return;
  if (account_refill(&client->account) < 0) return;
  EACH_VERSION(version, client)
  publish_bundle(client, version);
  post_empty(client, from);
}

static int open_legacy(const struct encrypted *stanza, struct text material, struct text *text) {
  struct text key = text_of(material.data, material.len < 16 ? material.len : 16), tag, payload = stanza->payload;
  if (material.len > 16) tag = text_of(material.data + 16, material.len - 16);
  else { /* the layout of the first clients: the tag is at the end of the payload */
    if (payload.len < 16) return -1;
    payload.len -= 16;
    tag = text_of(payload.data + payload.len, 16);
  }
  return crypto_gcm_decrypt(text, key, stanza->iv, payload, tag);
}

static int open_omemo2(const struct encrypted *stanza, struct text material, const char *sender, struct text *text) {
  struct text envelope;
  if (material.len != 48) return -1;
  if (crypto_payload_decrypt(&envelope, text_of(material.data, 32), stanza->payload, text_of(material.data + 32, 16)) <
      0)
    return -1;
  return stanza_unwrap(envelope, sender, text);
}

int client_decrypt(struct client *client, const char *sender, const char *xml, struct record *answer) {
  struct encrypted stanza;
  struct text material, identity, text;
  int code;
  if (stanza_read(xml, &stanza) < 0) return fail(client, "ValueError", NULL, "not an <encrypted/> of OMEMO");
  if (stanza.version != client->versions[0] && stanza.version != client->versions[1])
    return fail(client, "UnknownNamespace", NULL, stanza_namespace(stanza.version));
  if (open_keys(client, sender, &stanza, &material) < 0) return -1;
  const struct address from = {stanza.version, sender, stanza.sender};
  follow_up(client, from);
  if (session_identity(&client->account, from, &identity) < 0)
    return fail(client, "InternalError", NULL, "a session without identity key");
  if (stanza.has_payload) {
    code = stanza.version == OMEMO2 ? open_omemo2(&stanza, material, sender, &text)
                                    : open_legacy(&stanza, material, &text);
    if (code < 0) return fail(client, "DecryptionFailed", NULL, "the payload");
    record_add(answer, "text", text);
  } else if (stanza.version == LEGACY && material.len >= 16) {
    record_add(answer, "key", text_hex(material.data, 16));
    if (material.len > 16) record_add(answer, "tag", text_hex(material.data + 16, material.len - 16));
    record_add(answer, "iv", text_hex(stanza.iv.data, stanza.iv.len));
  }
  record_number(answer, "device", stanza.sender);
  record_add(answer, "identity", text_hex(identity.data, identity.len));
  record_string(answer, "level", "trusted");
  return 0;
}
