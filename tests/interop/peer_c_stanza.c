/* See peer_c_stanza.h. For tests only: linked with GPL libraries, never installed. */
#include "peer_c_stanza.h"
#include "peer_c_crypto.h"

#include <string.h>

#define SCE "urn:xmpp:sce:1"

/* How the elements of a namespace are called. */
static const struct names {
  const char *ns, *list, *signed_pre_key, *signed_pre_key_id, *signature, *identity, *pre_key, *pre_key_id, *exchange;
} legacy = {"eu.siacs.conversations.axolotl",
            "list",
            "signedPreKeyPublic",
            "signedPreKeyId",
            "signedPreKeySignature",
            "identityKey",
            "preKeyPublic",
            "preKeyId",
            "prekey"},
  omemo2 = {"urn:xmpp:omemo:2", "devices", "spk", "id", "spks", "ik", "pk", "id", "kex"};

static const struct names *names_of(enum version version) {
  return version == OMEMO2 ? &omemo2 : &legacy;
}

const char *stanza_namespace(enum version version) {
  return names_of(version)->ns;
}

enum version stanza_version(const char *ns) {
  if (strcmp(ns, legacy.ns) == 0) return LEGACY;
  return strcmp(ns, omemo2.ns) == 0 ? OMEMO2 : (enum version)0;
}

/* The root, if it is that element. */
static const struct element *root_of(const char *xml, const char *ns, const char *name) {
  const struct element *root = xml_read(xml);
  return root && strcmp(root->ns, ns) == 0 && strcmp(root->name, name) == 0 ? root : NULL;
}

static int number_of(uint32_t *number, const struct element *element, const char *attribute) {
  const char *value = element ? xml_attribute(element, attribute) : NULL;
  return value ? text_number(number, value) : -1;
}

static int bytes_of(struct text *bytes, const struct element *element) {
  return element ? text_from_base64(bytes, text_string(element->text)) : -1;
}

/* -- device lists -- */

int stanza_list(enum version version, const char *list, uint32_t **devices, size_t *count) {
  const struct names *names = names_of(version);
  const struct element *root, *device = NULL;
  *count = 0;
  *devices = text_alloc(strlen(list) * sizeof **devices); /* more than enough */
  if (!*list) return 0;
  root = root_of(list, names->ns, names->list);
  if (!root) return -1;
  while ((device = xml_child(root, names->ns, "device", device)))
    if (number_of(&(*devices)[*count], device, "id") == 0) (*count)++;
  return 0;
}

int stanza_list_has(const char *list, uint32_t device) {
  const struct element *root = *list ? xml_read(list) : NULL;
  uint32_t *devices = NULL;
  size_t count = 0;
  if (!root || !stanza_version(root->ns) || stanza_list(stanza_version(root->ns), list, &devices, &count) < 0) return 0;
  for (size_t i = 0; i < count; i++)
    if (devices[i] == device) return 1;
  return 0;
}

struct text stanza_list_with(enum version version, const char *list, uint32_t device) {
  const struct names *names = names_of(version);
  const struct element *root = *list ? root_of(list, names->ns, names->list) : NULL, *old = NULL;
  struct text xml = text_of("", 0);
  text_addf(&xml, "<%s xmlns='%s'>", names->list, names->ns);
  while (root && (old = xml_child(root, names->ns, "device", old))) {
    text_addf(&xml, "<device");
    for (const struct attribute *attribute = old->attributes; attribute; attribute = attribute->next) {
      if (strncmp(attribute->name, "xmlns", 5) == 0) continue;
      text_addf(&xml, " %s='", attribute->name);
      text_add_escaped(&xml, attribute->value);
      text_addf(&xml, "'");
    }
    text_addf(&xml, "/>");
  }
  text_addf(&xml, "<device id='%lu'/></%s>", (unsigned long)device, names->list);
  return xml;
}

/* -- bundles -- */

static void add_key(struct text *xml, const char *name, const char *attribute, uint32_t id, struct text key) {
  text_addf(xml, "<%s", name);
  if (attribute) text_addf(xml, " %s='%lu'", attribute, (unsigned long)id);
  text_addf(xml, ">%s</%s>", text_string(text_base64(key)), name);
}

int stanza_own_bundle(const struct account *account, enum version version, struct text *xml) {
  const struct names *names = names_of(version);
  struct own_bundle own;
  const struct entry *entry = NULL;
  if (account_bundle(account, version, &own) < 0) return -1;
  *xml = text_of("", 0);
  text_addf(xml, "<bundle xmlns='%s'>", names->ns);
  add_key(xml, names->signed_pre_key, names->signed_pre_key_id, own.signed_pre_key_id, own.signed_pre_key);
  add_key(xml, names->signature, NULL, 0, own.signature);
  add_key(xml, names->identity, NULL, 0, own.identity);
  text_addf(xml, "<prekeys>");
  while ((entry = table_find(&account->table, PRE_KEY, entry))) {
    uint32_t id;
    struct text key;
    if (account_pre_key(account, entry, version, &id, &key) < 0) return -1;
    add_key(xml, names->pre_key, names->pre_key_id, id, key);
  }
  text_addf(xml, "</prekeys></bundle>");
  return 0;
}

int stanza_bundle(enum version version, const char *xml, struct bundle *bundle) {
  const struct names *names = names_of(version);
  const struct element *root = root_of(xml, names->ns, "bundle"), *child, *keys, *key = NULL;
  uint32_t count = 0, drawn;
  if (!root) return -1;
  child = xml_child(root, names->ns, names->signed_pre_key, NULL);
  if (number_of(&bundle->signed_pre_key_id, child, names->signed_pre_key_id) < 0 ||
      bytes_of(&bundle->signed_pre_key, child) < 0 ||
      bytes_of(&bundle->signature, xml_child(root, names->ns, names->signature, NULL)) < 0 ||
      bytes_of(&bundle->identity, xml_child(root, names->ns, names->identity, NULL)) < 0)
    return -1;
  keys = xml_child(root, names->ns, "prekeys", NULL);
  while (keys && (key = xml_child(keys, names->ns, names->pre_key, key))) count++;
  if (!count) return -1;
  drawn = crypto_below(count);
  for (key = NULL, count = 0; count <= drawn; count++) key = xml_child(keys, names->ns, names->pre_key, key);
  return number_of(&bundle->pre_key_id, key, names->pre_key_id) < 0 ? -1 : bytes_of(&bundle->pre_key, key);
}

/* -- <encrypted/> -- */

static void write_key(struct text *xml, const struct names *names, const struct key *key) {
  text_addf(xml, "<key%s%s%s rid='%lu'>%s</key>", key->exchange ? " " : "", key->exchange ? names->exchange : "",
            key->exchange ? "='true'" : "", (unsigned long)key->device, text_string(text_base64(key->data)));
}

/* All keys of that key's JID, in omemo:2; keys of one JID follow each other. */
static const struct key *write_group(struct text *xml, const struct names *names, const struct key *key) {
  const char *jid = key->jid;
  text_addf(xml, "<keys jid='");
  text_add_escaped(xml, jid);
  text_addf(xml, "'>");
  for (; key && strcmp(key->jid, jid) == 0; key = key->next) write_key(xml, names, key);
  text_addf(xml, "</keys>");
  return key;
}

struct text stanza_write(const struct encrypted *encrypted) {
  const struct names *names = names_of(encrypted->version);
  struct text xml = text_of("", 0);
  text_addf(&xml, "<encrypted xmlns='%s'><header sid='%lu'>", names->ns, (unsigned long)encrypted->sender);
  for (const struct key *key = encrypted->keys; key;) {
    if (encrypted->version == OMEMO2) key = write_group(&xml, names, key);
    else {
      write_key(&xml, names, key);
      key = key->next;
    }
  }
  if (encrypted->version == LEGACY) add_key(&xml, "iv", NULL, 0, encrypted->iv);
  text_addf(&xml, "</header>");
  if (encrypted->has_payload) add_key(&xml, "payload", NULL, 0, encrypted->payload);
  text_addf(&xml, "</encrypted>");
  return xml;
}

/* The keys below an element, in front of those that are there. */
static int read_keys(struct encrypted *encrypted, const struct element *parent, const char *jid) {
  const struct names *names = names_of(encrypted->version);
  const struct element *element = NULL;
  while ((element = xml_child(parent, names->ns, "key", element))) {
    struct key *key = text_alloc(sizeof *key);
    key->jid = jid;
    key->exchange = xml_true(xml_attribute(element, names->exchange));
    if (number_of(&key->device, element, "rid") < 0 || bytes_of(&key->data, element) < 0) return -1;
    key->next = encrypted->keys;
    encrypted->keys = key;
  }
  return 0;
}

int stanza_read(const char *xml, struct encrypted *encrypted) {
  const struct element *root = xml_read(xml), *header, *keys = NULL, *payload;
  memset(encrypted, 0, sizeof *encrypted);
  if (!root || strcmp(root->name, "encrypted") != 0) return -1;
  encrypted->version = stanza_version(root->ns);
  if (!encrypted->version) return -1;
  header = xml_child(root, root->ns, "header", NULL);
  if (number_of(&encrypted->sender, header, "sid") < 0) return -1;
  if (encrypted->version == OMEMO2) {
    while ((keys = xml_child(header, root->ns, "keys", keys)))
      if (!xml_attribute(keys, "jid") || read_keys(encrypted, keys, xml_attribute(keys, "jid")) < 0) return -1;
  } else if (read_keys(encrypted, header, NULL) < 0 ||
             bytes_of(&encrypted->iv, xml_child(header, root->ns, "iv", NULL)) < 0)
    return -1;
  payload = xml_child(root, root->ns, "payload", NULL);
  encrypted->has_payload = payload != NULL;
  return payload ? bytes_of(&encrypted->payload, payload) : 0;
}

/* -- the envelope of omemo:2 -- */

struct text stanza_wrap(const char *body, const char *from) {
  struct text xml = text_of("", 0);
  text_addf(&xml, "<envelope xmlns='" SCE "'><content><body xmlns='jabber:client'>");
  text_add_escaped(&xml, body);
  text_addf(&xml, "</body></content><rpad>");
  for (uint32_t left = 1 + crypto_below(200); left; left--) text_addf(&xml, "%c", (int)('a' + crypto_below(26)));
  text_addf(&xml, "</rpad><from jid='");
  text_add_escaped(&xml, from);
  text_addf(&xml, "'/></envelope>");
  return xml;
}

int stanza_unwrap(struct text envelope, const char *from, struct text *body) {
  const struct element *root = root_of(text_string(envelope), SCE, "envelope"), *content, *sender, *found;
  const char *jid;
  if (!root || strlen(text_string(envelope)) != envelope.len || !xml_child(root, SCE, "rpad", NULL)) return -1;
  content = xml_child(root, SCE, "content", NULL);
  sender = xml_child(root, SCE, "from", NULL);
  jid = sender ? xml_attribute(sender, "jid") : NULL;
  found = content ? xml_child(content, "jabber:client", "body", NULL) : NULL;
  if (!jid || strcmp(jid, from) != 0 || !found) return -1;
  *body = found->text;
  return 0;
}
