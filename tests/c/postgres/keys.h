/* Which message key a stanza of omemo:2 uses: device, ratchet key and number, read from its XML without the library.
 * And whether two stanzas use one key for different ciphertexts, which must never be. */
#ifndef POSTGRES_KEYS_H
#define POSTGRES_KEYS_H

#include "../world.h"

struct used_key {
  char name[256]; /* sender, its device, recipient, ratchet key, number */
  char *ciphertext;
};

struct used_keys {
  struct used_key *all;
  size_t count;
};

struct bytes {
  const uint8_t *at;
  size_t len;
};

static inline struct bytes no_bytes(void) {
  struct bytes none = {NULL, 0};
  return none;
}

static inline uint64_t read_varint(struct bytes *from) {
  uint64_t value = 0;
  for (unsigned shift = 0; from->len > 0 && shift < 64; shift += 7) {
    uint8_t byte = *from->at++;
    from->len--;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

/* The field of a protobuf message: its bytes, or its number through `number`. */
static inline struct bytes field(struct bytes message, uint64_t wanted, uint64_t *number) {
  while (message.len > 0) {
    uint64_t tag = read_varint(&message);
    uint64_t value = read_varint(&message);
    if ((tag & 7) == 0) {
      if (tag >> 3 != wanted) continue;
      if (number) *number = value;
      return no_bytes();
    }
    if ((tag & 7) != 2 || value > message.len) return no_bytes();
    if (tag >> 3 == wanted) return (struct bytes){message.at, (size_t)value};
    message.at += value;
    message.len -= (size_t)value;
  }
  return no_bytes();
}

static inline int letter(char c) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *at = c ? strchr(letters, c) : NULL;
  return at ? (int)(at - letters) : -1;
}

static inline size_t from_base64(const char *text, uint8_t *out, size_t size) {
  uint32_t bits = 0;
  unsigned have = 0;
  size_t len = 0;
  for (; letter(*text) >= 0 && len < size; text++) {
    bits = bits << 6 | (uint32_t)letter(*text);
    have += 6;
    if (have < 8) continue;
    have -= 8;
    out[len++] = (uint8_t)(bits >> have);
  }
  return len;
}

/* The stanza has one <key/>, for each account here has one device. */
static inline bool key_of(const char *sender, const char *recipient, const char *xml, struct used_key *key) {
  static const char hex[] = "0123456789abcdef";
  uint8_t raw[4096];
  uint64_t n = 0;
  const char *at = strstr(xml, "<key ");
  const char *sid = strstr(xml, "sid=");
  const char *text = at ? strchr(at, '>') : NULL;
  if (!text || !sid) return false;
  bool is_exchange = memchr(at, 'x', (size_t)(text - at)) != NULL; /* kex='true' */
  struct bytes message = {raw, from_base64(text + 1, raw, sizeof raw)};
  if (is_exchange) message = field(message, 5, NULL);
  message = field(message, 2, NULL);
  field(message, 1, &n);
  struct bytes ratchet = field(message, 3, NULL), ciphertext = field(message, 4, NULL);
  if (ratchet.len != 32) return false;
  char shown[65] = "";
  for (size_t i = 0; i < 32; i++) {
    shown[2 * i] = hex[ratchet.at[i] >> 4];
    shown[2 * i + 1] = hex[ratchet.at[i] & 15];
  }
  snprintf(key->name, sizeof key->name, "%s %.16s %s %s %lu", sender, sid, recipient, shown, (unsigned long)n);
  key->ciphertext = need(malloc(2 * ciphertext.len + 1));
  for (size_t i = 0; i < ciphertext.len; i++) {
    key->ciphertext[2 * i] = hex[ciphertext.at[i] >> 4];
    key->ciphertext[2 * i + 1] = hex[ciphertext.at[i] & 15];
  }
  key->ciphertext[2 * ciphertext.len] = '\0';
  return true;
}

static inline void note_key(struct used_keys *keys, const char *sender, const char *recipient, const char *xml) {
  struct used_key key;
  if (!CHECK(key_of(sender, recipient, xml, &key))) return;
  keys->all = need(realloc(keys->all, (keys->count + 1) * sizeof *keys->all));
  keys->all[keys->count++] = key;
}

static inline int by_name(const void *a, const void *b) {
  return strcmp(((const struct used_key *)a)->name, ((const struct used_key *)b)->name);
}

/* How many keys carry two ciphertexts; forgets all. */
static inline size_t used_twice(struct used_keys *keys) {
  size_t twice = 0;
  qsort(keys->all, keys->count, sizeof *keys->all, by_name);
  for (size_t i = 1; i < keys->count; i++)
    if (by_name(&keys->all[i - 1], &keys->all[i]) == 0 &&
        strcmp(keys->all[i - 1].ciphertext, keys->all[i].ciphertext) != 0)
      twice++;
  for (size_t i = 0; i < keys->count; i++) free(keys->all[i].ciphertext);
  free(keys->all);
  memset(keys, 0, sizeof *keys);
  return twice;
}

#endif
