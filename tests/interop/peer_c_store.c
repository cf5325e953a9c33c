/* See peer_c_store.h. For tests only: linked with GPL libraries, never installed.
 *
 * Keys of the table: "session DEVICE NAME", "pre_key ID", "signed_pre_key ID", "identity" and "device_id". The user
 * data of every store is the account.
 */
#include "peer_c_store.h"

#include <ratchet.h>
#include <string.h>

static struct table *table_of(void *user_data) {
  return &((struct account *)user_data)->table;
}

static const char *key_of(const char *kind, uint32_t id) {
  struct text key = text_of("", 0);
  text_addf(&key, "%s%lu", kind, (unsigned long)id);
  return text_string(key);
}

const char *store_pre_key_key(uint32_t id) {
  return key_of(PRE_KEY, id);
}

const char *store_signed_pre_key_key(uint32_t id) {
  return key_of("signed_pre_key ", id);
}

int store_put_number(struct table *table, const char *key, uint32_t number) {
  const char *digits = key_of("", number);
  table_put(table, key, digits, strlen(digits));
  return 0;
}

uint32_t store_number(const struct table *table, const char *key) {
  const struct entry *entry = table_get(table, key);
  uint32_t number = 0;
  return entry && text_number(&number, text_string(entry->value)) == 0 ? number : 0;
}

static int give(signal_buffer **out, const struct entry *entry) {
  *out = signal_buffer_create(entry->value.data, entry->value.len);
  return *out ? 0 : SG_ERR_NOMEM;
}

/* -- sessions -- */

static const char *session_key(const signal_protocol_address *address) {
  struct text key = text_of("", 0);
  text_addf(&key, "session %ld %.*s", (long)address->device_id, (int)address->name_len, address->name);
  return text_string(key);
}

static int load_session(signal_buffer **record, signal_buffer **user_record, const signal_protocol_address *address,
                        void *user_data) {
  const struct entry *entry = table_get(table_of(user_data), session_key(address));
  int code;
  (void)user_record;
  if (!entry) return 0;
  code = give(record, entry);
  return code < 0 ? code : 1;
}

static int store_session(const signal_protocol_address *address, uint8_t *record, size_t len, uint8_t *user_record,
                         size_t user_len, void *user_data) {
  (void)user_record, (void)user_len;
  table_put(table_of(user_data), session_key(address), record, len);
  return 0;
}

static int contains_session(const signal_protocol_address *address, void *user_data) {
  return table_get(table_of(user_data), session_key(address)) != NULL;
}

static int delete_session(const signal_protocol_address *address, void *user_data) {
  return table_remove(table_of(user_data), session_key(address));
}

/* Requests for all sessions of a name: the driver makes none, and the libraries ask only when they are told to. */
static int sub_device_sessions(signal_int_list **list, const char *name, size_t len, void *user_data) {
  (void)list, (void)name, (void)len, (void)user_data;
  return SG_ERR_UNKNOWN;
}

static int delete_all_sessions(const char *name, size_t len, void *user_data) {
  (void)name, (void)len, (void)user_data;
  return SG_ERR_UNKNOWN;
}

/* -- pre keys -- */

static int load_pre_key(signal_buffer **record, uint32_t id, void *user_data) {
  const struct entry *entry = table_get(table_of(user_data), store_pre_key_key(id));
  return entry ? give(record, entry) : SG_ERR_INVALID_KEY_ID;
}

static int store_pre_key(uint32_t id, uint8_t *record, size_t len, void *user_data) {
  table_put(table_of(user_data), store_pre_key_key(id), record, len);
  return 0;
}

static int contains_pre_key(uint32_t id, void *user_data) {
  return table_get(table_of(user_data), store_pre_key_key(id)) != NULL;
}

static int remove_pre_key(uint32_t id, void *user_data) {
  if (table_remove(table_of(user_data), store_pre_key_key(id))) ((struct account *)user_data)->used++;
  return 0;
}

static int load_signed_pre_key(signal_buffer **record, uint32_t id, void *user_data) {
  const struct entry *entry = table_get(table_of(user_data), store_signed_pre_key_key(id));
  return entry ? give(record, entry) : SG_ERR_INVALID_KEY_ID;
}

static int store_signed_pre_key(uint32_t id, uint8_t *record, size_t len, void *user_data) {
  table_put(table_of(user_data), store_signed_pre_key_key(id), record, len);
  return 0;
}

static int contains_signed_pre_key(uint32_t id, void *user_data) {
  return table_get(table_of(user_data), store_signed_pre_key_key(id)) != NULL;
}

static int remove_signed_pre_key(uint32_t id, void *user_data) {
  table_remove(table_of(user_data), store_signed_pre_key_key(id));
  return 0;
}

/* -- identities -- */

static int get_identity(signal_buffer **public_data, signal_buffer **private_data, void *user_data) {
  const struct account *account = user_data;
  const int code = ec_public_key_serialize(public_data, ratchet_identity_key_pair_get_public(account->identity));
  if (code < 0) return code;
  return ec_private_key_serialize(private_data, ratchet_identity_key_pair_get_private(account->identity));
}

static int get_registration_id(void *user_data, uint32_t *id) {
  *id = store_number(table_of(user_data), STORE_DEVICE_ID);
  return 0;
}

/* Trust is the business of whoever tests: every identity is taken. */
static int save_identity(const signal_protocol_address *address, uint8_t *key, size_t len, void *user_data) {
  (void)address, (void)key, (void)len, (void)user_data;
  return 0;
}

static int is_trusted(const signal_protocol_address *address, uint8_t *key, size_t len, void *user_data) {
  (void)address, (void)key, (void)len, (void)user_data;
  return 1;
}

/* The stores own nothing. */
static void destroy(void *user_data) {
  (void)user_data;
}

int store_create(struct account *account) {
  const signal_protocol_session_store sessions = {.load_session_func = load_session,
                                                  .get_sub_device_sessions_func = sub_device_sessions,
                                                  .store_session_func = store_session,
                                                  .contains_session_func = contains_session,
                                                  .delete_session_func = delete_session,
                                                  .delete_all_sessions_func = delete_all_sessions,
                                                  .destroy_func = destroy,
                                                  .user_data = account};
  const signal_protocol_pre_key_store pre_keys = {.load_pre_key = load_pre_key,
                                                  .store_pre_key = store_pre_key,
                                                  .contains_pre_key = contains_pre_key,
                                                  .remove_pre_key = remove_pre_key,
                                                  .destroy_func = destroy,
                                                  .user_data = account};
  const signal_protocol_signed_pre_key_store signed_pre_keys = {.load_signed_pre_key = load_signed_pre_key,
                                                                .store_signed_pre_key = store_signed_pre_key,
                                                                .contains_signed_pre_key = contains_signed_pre_key,
                                                                .remove_signed_pre_key = remove_signed_pre_key,
                                                                .destroy_func = destroy,
                                                                .user_data = account};
  const signal_protocol_identity_key_store identities = {.get_identity_key_pair = get_identity,
                                                         .get_local_registration_id = get_registration_id,
                                                         .save_identity = save_identity,
                                                         .is_trusted_identity = is_trusted,
                                                         .destroy_func = destroy,
                                                         .user_data = account};
  int code = signal_protocol_store_context_create(&account->store, account->context);
  if (code == 0) code = signal_protocol_store_context_set_session_store(account->store, &sessions);
  if (code == 0) code = signal_protocol_store_context_set_pre_key_store(account->store, &pre_keys);
  if (code == 0) code = signal_protocol_store_context_set_signed_pre_key_store(account->store, &signed_pre_keys);
  if (code == 0) code = signal_protocol_store_context_set_identity_key_store(account->store, &identities);
  return code;
}
