/* See peer_c_account.h. For tests only: linked with GPL libraries, never installed. */
#include "peer_c_account.h"
#include "peer_c_crypto.h"
#include "peer_c_store.h"

#include <curve.h>
#include <key_helper.h>
#include <ratchet.h>
#include <session_pre_key.h>
#include <string.h>

#define NEXT_PRE_KEY "next_pre_key"
#define SIGNED_PRE_KEY_ID "signed_pre_key_id"

static void lock(void *user_data) { /* a device belongs to one thread */
  (void)user_data;
}

static int create_context(struct account *account) {
  int code = signal_context_create(&account->context, account);
  if (code == 0) code = signal_context_set_crypto_provider(account->context, &crypto_provider);
  if (code == 0) code = signal_context_set_locking_functions(account->context, lock, lock);
  return code;
}

/* Puts what was serialised, and frees it. */
static void put(struct table *table, const char *key, signal_buffer *bytes) {
  table_put(table, key, signal_buffer_data(bytes), signal_buffer_len(bytes));
  signal_buffer_bzero_free(bytes);
}

static int add_pre_key(struct account *account) {
  const uint32_t id = store_number(&account->table, NEXT_PRE_KEY);
  ec_key_pair *pair = NULL;
  session_pre_key *key = NULL;
  signal_buffer *bytes = NULL;
  int code = curve_generate_key_pair(account->context, &pair);
  if (code == 0) code = session_pre_key_create(&key, id, pair);
  if (code == 0) code = session_pre_key_serialize(&bytes, key);
  if (code >= 0) {
    put(&account->table, store_pre_key_key(id), bytes);
    code = store_put_number(&account->table, NEXT_PRE_KEY, id == INT32_MAX ? 0 : id + 1);
  }
  SIGNAL_UNREF(key);
  SIGNAL_UNREF(pair);
  return code;
}

static int add_signed_pre_key(struct account *account, uint32_t id) {
  session_signed_pre_key *key = NULL;
  signal_buffer *bytes = NULL;
  int code = signal_protocol_key_helper_generate_signed_pre_key(&key, account->identity, id, 0, account->context);
  if (code == 0) code = session_signed_pre_key_serialize(&bytes, key);
  if (code >= 0) {
    put(&account->table, store_signed_pre_key_key(id), bytes);
    code = store_put_number(&account->table, SIGNED_PRE_KEY_ID, id);
  }
  SIGNAL_UNREF(key);
  return code;
}

int account_create(struct account *account, uint32_t device_id, uint32_t signed_pre_key_id, uint32_t first_pre_key) {
  signal_buffer *bytes = NULL;
  int code = create_context(account);
  store_put_number(&account->table, STORE_DEVICE_ID, device_id);
  store_put_number(&account->table, NEXT_PRE_KEY, first_pre_key);
  if (code == 0) code = signal_protocol_key_helper_generate_identity_key_pair(&account->identity, account->context);
  if (code == 0) code = ratchet_identity_key_pair_serialize(&bytes, account->identity);
  if (code >= 0) put(&account->table, STORE_IDENTITY, bytes);
  if (code >= 0) code = add_signed_pre_key(account, signed_pre_key_id);
  for (int i = 0; code >= 0 && i < PRE_KEYS; i++) code = add_pre_key(account);
  account_close(account);
  return code < 0 ? code : account_open(account);
}

int account_open(struct account *account) {
  const struct entry *identity = table_get(&account->table, STORE_IDENTITY);
  int code = identity ? create_context(account) : SG_ERR_INVAL;
  if (code == 0)
    code = ratchet_identity_key_pair_deserialize(&account->identity, identity->value.data, identity->value.len,
                                                 account->context);
  if (code >= 0) code = store_create(account);
  return code < 0 ? code : 0;
}

void account_close(struct account *account) {
  if (account->store) signal_protocol_store_context_destroy(account->store);
  SIGNAL_UNREF(account->identity);
  if (account->context) signal_context_destroy(account->context);
  account->store = NULL;
  account->context = NULL;
}

int account_refill(struct account *account) {
  int code = 0;
  for (; code >= 0 && account->used; account->used--) code = add_pre_key(account);
  return code;
}

int account_single_pre_key(struct account *account, uint32_t id) {
  const struct entry *entry;
  while ((entry = table_find(&account->table, PRE_KEY, NULL))) table_remove(&account->table, entry->key);
  store_put_number(&account->table, NEXT_PRE_KEY, id);
  return add_pre_key(account);
}

uint32_t account_device_id(const struct account *account) {
  return store_number(&account->table, STORE_DEVICE_ID);
}

static int take(struct text *out, signal_buffer *bytes) {
  if (!bytes) return SG_ERR_NOMEM;
  *out = text_of(signal_buffer_data(bytes), signal_buffer_len(bytes));
  signal_buffer_free(bytes);
  return 0;
}

int account_identity(const struct account *account, struct text *key) {
  const ec_public_key *identity = ratchet_identity_key_pair_get_public(account->identity);
#ifdef WITH_LIBSIGNAL
  const int code = account_wire_key(key, identity, LEGACY, 1);
  if (code < 0) return code;
  *key = text_of(key->data + 1, key->len - 1);
  return 0;
#else
  return account_wire_key(key, identity, OMEMO2, 1);
#endif
}

int account_wire_key(struct text *out, const ec_public_key *key, enum version version, int is_identity) {
#ifdef WITH_LIBSIGNAL
  (void)version, (void)is_identity;
#else
  if (version == OMEMO2) return take(out, is_identity ? ec_public_key_get_ed(key) : ec_public_key_get_mont(key));
#endif
  signal_buffer *bytes = NULL;
  const int code = ec_public_key_serialize(&bytes, key);
  return code < 0 ? code : take(out, bytes);
}

static struct text signature_of(const session_signed_pre_key *key, enum version version) {
#ifndef WITH_LIBSIGNAL
  if (version == OMEMO2)
    return text_of(session_signed_pre_key_get_signature_omemo(key),
                   session_signed_pre_key_get_signature_omemo_len(key));
#endif
  (void)version;
  return text_of(session_signed_pre_key_get_signature(key), session_signed_pre_key_get_signature_len(key));
}

int account_bundle(const struct account *account, enum version version, struct own_bundle *bundle) {
  const uint32_t id = store_number(&account->table, SIGNED_PRE_KEY_ID);
  const struct entry *entry = table_get(&account->table, store_signed_pre_key_key(id));
  session_signed_pre_key *key = NULL;
  int code;
  if (!entry) return SG_ERR_INVALID_KEY_ID;
  code = session_signed_pre_key_deserialize(&key, entry->value.data, entry->value.len, account->context);
  if (code >= 0) {
    bundle->signed_pre_key_id = id;
    bundle->signature = signature_of(key, version);
    code = account_wire_key(&bundle->signed_pre_key, ec_key_pair_get_public(session_signed_pre_key_get_key_pair(key)),
                            version, 0);
  }
  if (code >= 0)
    code = account_wire_key(&bundle->identity, ratchet_identity_key_pair_get_public(account->identity), version, 1);
  SIGNAL_UNREF(key);
  return code;
}

int account_pre_key(const struct account *account, const struct entry *entry, enum version version, uint32_t *id,
                    struct text *key) {
  session_pre_key *found = NULL;
  int code = session_pre_key_deserialize(&found, entry->value.data, entry->value.len, account->context);
  if (code >= 0) {
    *id = session_pre_key_get_id(found);
    code = account_wire_key(key, ec_key_pair_get_public(session_pre_key_get_key_pair(found)), version, 0);
  }
  SIGNAL_UNREF(found);
  return code;
}
