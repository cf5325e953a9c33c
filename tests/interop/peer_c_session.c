/* See peer_c_session.h. For tests only: linked with GPL libraries, never installed.
 *
 * Sessions of both namespaces are in one store; the version is a part of the name under which they are kept.
 */
#include "peer_c_session.h"

#include <curve.h>
#include <protocol.h>
#include <session_builder.h>
#include <session_cipher.h>
#include <session_pre_key.h>
#include <session_record.h>
#include <session_state.h>
#include <string.h>

/* Leaves the function by its label `done` when a call of the library fails. */
#define TRY(call)                                                                                                      \
  do {                                                                                                                 \
    code = (call);                                                                                                     \
    if (code < 0) goto done;                                                                                           \
  } while (0)

/* libomemo-c wants to be told the version on every call: without it, it speaks legacy. libsignal speaks nothing else.
 */
#ifdef WITH_LIBSIGNAL
#define BUILDER_VERSION(builder, version) (void)(version)
#define CIPHER_VERSION(cipher, version) (void)(version)
#else
#define BUILDER_VERSION(builder, version) session_builder_set_version(builder, version)
#define CIPHER_VERSION(cipher, version) session_cipher_set_version(cipher, version)
#endif

static signal_protocol_address place(struct address address) {
  struct text name = text_of("", 0);
  text_addf(&name, "%d %s", (int)address.version, address.jid);
  const signal_protocol_address made = {text_string(name), name.len, (int32_t)address.device};
  return made;
}

int session_exists(const struct account *account, struct address to) {
  const signal_protocol_address address = place(to);
  return signal_protocol_session_contains_session(account->store, &address) == 1;
}

int session_end(struct account *account, struct address to) {
  const signal_protocol_address address = place(to);
  const int code = signal_protocol_session_delete_session(account->store, &address);
  return code < 0 ? code : 0;
}

static int decode(ec_public_key **key, struct text bytes, enum version version, int is_identity,
                  const struct account *account) {
#ifdef WITH_LIBSIGNAL
  (void)version, (void)is_identity;
#else
  if (version == OMEMO2)
    return is_identity ? curve_decode_point_ed(key, bytes.data, bytes.len, account->context)
                       : curve_decode_point_mont(key, bytes.data, bytes.len, account->context);
#endif
  return curve_decode_point(key, bytes.data, bytes.len, account->context);
}

int session_begin(struct account *account, struct address to, const struct bundle *bundle) {
  const signal_protocol_address address = place(to);
  ec_public_key *identity = NULL, *signed_key = NULL, *key = NULL;
  session_pre_key_bundle *made = NULL;
  session_builder *builder = NULL;
  int code;
  TRY(decode(&identity, bundle->identity, to.version, 1, account));
  TRY(decode(&signed_key, bundle->signed_pre_key, to.version, 0, account));
  TRY(decode(&key, bundle->pre_key, to.version, 0, account));
  TRY(session_pre_key_bundle_create(&made, to.device, address.device_id, bundle->pre_key_id, key,
                                    bundle->signed_pre_key_id, signed_key, bundle->signature.data,
                                    bundle->signature.len, identity));
  TRY(session_builder_create(&builder, account->store, &address, account->context));
  BUILDER_VERSION(builder, to.version);
  TRY(session_builder_process_pre_key_bundle(builder, made));
done:
  if (builder) session_builder_free(builder);
  SIGNAL_UNREF(made);
  SIGNAL_UNREF(identity);
  SIGNAL_UNREF(signed_key);
  SIGNAL_UNREF(key);
  return code < 0 ? code : 0;
}

int session_encrypt(struct account *account, struct address to, struct text plaintext, struct text *out,
                    int *exchange) {
  const signal_protocol_address address = place(to);
  session_cipher *cipher = NULL;
  ciphertext_message *message = NULL;
  const signal_buffer *bytes;
  int code;
  TRY(session_cipher_create(&cipher, account->store, &address, account->context));
  CIPHER_VERSION(cipher, to.version);
  TRY(session_cipher_encrypt(cipher, plaintext.data, plaintext.len, &message));
  bytes = ciphertext_message_get_serialized(message);
  *out = text_of(signal_buffer_const_data(bytes), signal_buffer_len(bytes));
  *exchange = ciphertext_message_get_type(message) == CIPHERTEXT_PREKEY_TYPE;
done:
  SIGNAL_UNREF(message);
  if (cipher) session_cipher_free(cipher);
  return code < 0 ? code : 0;
}

static int parse_exchange(pre_key_signal_message **out, struct account *account, struct address from,
                          struct text data) {
#ifndef WITH_LIBSIGNAL
  /* The message of omemo:2 does not carry the sender's number; the stanza does. */
  if (from.version == OMEMO2)
    return pre_key_signal_message_deserialize_omemo(out, data.data, data.len, from.device, account->context);
#endif
  (void)from;
  return pre_key_signal_message_deserialize(out, data.data, data.len, account->context);
}

static int parse_message(signal_message **out, struct account *account, struct address from, struct text data) {
#ifndef WITH_LIBSIGNAL
  if (from.version == OMEMO2) return signal_message_deserialize_omemo(out, data.data, data.len, account->context);
#endif
  (void)from;
  return signal_message_deserialize(out, data.data, data.len, account->context);
}

int session_decrypt(struct account *account, struct address from, struct text data, int exchange, struct text *out) {
  const signal_protocol_address address = place(from);
  session_cipher *cipher = NULL;
  pre_key_signal_message *with_exchange = NULL;
  signal_message *message = NULL;
  signal_buffer *plaintext = NULL;
  int code;
  TRY(session_cipher_create(&cipher, account->store, &address, account->context));
  CIPHER_VERSION(cipher, from.version);
  if (exchange) {
    TRY(parse_exchange(&with_exchange, account, from, data));
    TRY(session_cipher_decrypt_pre_key_signal_message(cipher, with_exchange, NULL, &plaintext));
  } else {
    TRY(parse_message(&message, account, from, data));
    TRY(session_cipher_decrypt_signal_message(cipher, message, NULL, &plaintext));
  }
  *out = text_of(signal_buffer_data(plaintext), signal_buffer_len(plaintext));
done:
  signal_buffer_bzero_free(plaintext);
  SIGNAL_UNREF(with_exchange);
  SIGNAL_UNREF(message);
  if (cipher) session_cipher_free(cipher);
  return code < 0 ? code : 0;
}

int session_identity(struct account *account, struct address from, struct text *key) {
  const signal_protocol_address address = place(from);
  session_record *record = NULL;
  const ec_public_key *identity;
  int code;
#ifdef WITH_LIBSIGNAL
  TRY(signal_protocol_session_load_session(account->store, &record, &address));
#else
  TRY(signal_protocol_session_load_session(account->store, &record, &address, from.version));
#endif
  identity = session_state_get_remote_identity_key(session_record_get_state(record));
  TRY(identity ? account_wire_key(key, identity, from.version, 1) : SG_ERR_NO_SESSION);
  if (from.version == LEGACY) *key = text_of(key->data + 1, key->len - 1);
done:
  SIGNAL_UNREF(record);
  return code < 0 ? code : 0;
}
