/* libomemo-c of Debian, measured: a program of its own, so that nothing of it is linked to libomemo. Prints
 * {"op", "us"} one a line. The cryptography that it wants from its user is OpenSSL's; its stores are arrays here.
 *
 *   cc -O2 libomemo_c.c $(pkg-config --cflags --libs libomemo-c libcrypto) -o peer_libomemo_c
 */
#define _POSIX_C_SOURCE 200809L
#include "../samples.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <signal_protocol.h>
#include <curve.h>
#include <key_helper.h>
#include <protocol.h>
#include <session_builder.h>
#include <session_cipher.h>
#include <session_pre_key.h>

#define CHECK(call)                                                                                                    \
  do {                                                                                                                 \
    int code_ = (call);                                                                                                \
    if (code_ < 0) {                                                                                                   \
      fprintf(stderr, "%s: %d\n", #call, code_);                                                                       \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

enum { DEVICES = 1001, MAX_SAMPLES = 2000 };

static signal_context *context;
static double budget = 0.2;

/* -- cryptography -- */
static int random_func(uint8_t *data, size_t len, void *user_data) {
  (void)user_data;
  return RAND_bytes(data, (int)len) == 1 ? 0 : SG_ERR_UNKNOWN;
}

static int hmac_init(void **hmac, const uint8_t *key, size_t len, void *user_data) {
  HMAC_CTX *made = HMAC_CTX_new();
  (void)user_data;
  *hmac = made;
  return made && HMAC_Init_ex(made, key, (int)len, EVP_sha256(), NULL) == 1 ? 0 : SG_ERR_UNKNOWN;
}

static int hmac_update(void *hmac, const uint8_t *data, size_t len, void *user_data) {
  (void)user_data;
  return HMAC_Update(hmac, data, len) == 1 ? 0 : SG_ERR_UNKNOWN;
}

static int hmac_final(void *hmac, signal_buffer **output, void *user_data) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int len = 0;
  (void)user_data;
  if (HMAC_Final(hmac, bytes, &len) != 1) return SG_ERR_UNKNOWN;
  *output = signal_buffer_create(bytes, len);
  return *output ? 0 : SG_ERR_NOMEM;
}

static void hmac_cleanup(void *hmac, void *user_data) {
  (void)user_data;
  HMAC_CTX_free(hmac);
}

static int sha512_init(void **digest, void *user_data) {
  (void)user_data;
  *digest = EVP_MD_CTX_new();
  return *digest && EVP_DigestInit_ex(*digest, EVP_sha512(), NULL) == 1 ? 0 : SG_ERR_UNKNOWN;
}

static int sha512_update(void *digest, const uint8_t *data, size_t len, void *user_data) {
  (void)user_data;
  return EVP_DigestUpdate(digest, data, len) == 1 ? 0 : SG_ERR_UNKNOWN;
}

static int sha512_final(void *digest, signal_buffer **output, void *user_data) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int len = 0;
  (void)user_data;
  if (EVP_DigestFinal_ex(digest, bytes, &len) != 1) return SG_ERR_UNKNOWN;
  if (EVP_DigestInit_ex(digest, EVP_sha512(), NULL) != 1) return SG_ERR_UNKNOWN;
  *output = signal_buffer_create(bytes, len);
  return *output ? 0 : SG_ERR_NOMEM;
}

static void sha512_cleanup(void *digest, void *user_data) {
  (void)user_data;
  EVP_MD_CTX_free(digest);
}

static int cipher(signal_buffer **output, int type, const uint8_t *key, size_t key_len, const uint8_t *iv,
                  const uint8_t *text, size_t len, int encrypt) {
  EVP_CIPHER_CTX *made = EVP_CIPHER_CTX_new();
  unsigned char *bytes = malloc(len + 32);
  int first = 0, last = 0, good;
  good = type == SG_CIPHER_AES_CBC_PKCS5 && key_len == 32 && made && bytes &&
         EVP_CipherInit_ex(made, EVP_aes_256_cbc(), NULL, key, iv, encrypt) == 1 &&
         EVP_CipherUpdate(made, bytes, &first, text, (int)len) == 1 &&
         EVP_CipherFinal_ex(made, bytes + first, &last) == 1;
  if (good) *output = signal_buffer_create(bytes, (size_t)(first + last));
  EVP_CIPHER_CTX_free(made);
  free(bytes);
  return good ? 0 : SG_ERR_UNKNOWN;
}

static int encrypt_func(signal_buffer **output, int type, const uint8_t *key, size_t key_len, const uint8_t *iv,
                        size_t iv_len, const uint8_t *text, size_t len, void *user_data) {
  (void)iv_len, (void)user_data;
  return cipher(output, type, key, key_len, iv, text, len, 1);
}

static int decrypt_func(signal_buffer **output, int type, const uint8_t *key, size_t key_len, const uint8_t *iv,
                        size_t iv_len, const uint8_t *text, size_t len, void *user_data) {
  (void)iv_len, (void)user_data;
  return cipher(output, type, key, key_len, iv, text, len, 0);
}

static void lock(void *user_data) {
  (void)user_data;
}

/* -- a device and its stores -- */
struct bytes {
  uint8_t *data;
  size_t len;
};

struct side {
  signal_protocol_store_context *store;
  ratchet_identity_key_pair *identity;
  uint32_t registration;
  struct bytes sessions[DEVICES], pre_keys[201], signed_pre_key;
};

static void keep(struct bytes *slot, const uint8_t *data, size_t len) {
  free(slot->data);
  slot->data = data ? malloc(len) : NULL;
  slot->len = data ? len : 0;
  if (data) memcpy(slot->data, data, len);
}

static int give(signal_buffer **record, const struct bytes *slot, int good) {
  if (!slot->data) return good ? 0 : SG_ERR_INVALID_KEY_ID;
  *record = signal_buffer_create(slot->data, slot->len);
  return *record ? 1 : SG_ERR_NOMEM;
}

static int load_session(signal_buffer **record, signal_buffer **user, const signal_protocol_address *a, void *s) {
  (void)user;
  return give(record, &((struct side *)s)->sessions[a->device_id], 1);
}
static int sub_devices(signal_int_list **list, const char *name, size_t len, void *s) {
  (void)list, (void)name, (void)len, (void)s;
  return 0;
}
static int store_session(const signal_protocol_address *a, uint8_t *record, size_t len, uint8_t *user, size_t user_len,
                         void *s) {
  (void)user, (void)user_len;
  keep(&((struct side *)s)->sessions[a->device_id], record, len);
  return 0;
}
static int contains_session(const signal_protocol_address *a, void *s) {
  return ((struct side *)s)->sessions[a->device_id].data != NULL;
}
static int delete_session(const signal_protocol_address *a, void *s) {
  keep(&((struct side *)s)->sessions[a->device_id], NULL, 0);
  return 1;
}
static int delete_all(const char *name, size_t len, void *s) {
  (void)name, (void)len, (void)s;
  return 0;
}
static void destroy(void *s) {
  (void)s;
}

static int load_pre_key(signal_buffer **record, uint32_t id, void *s) {
  int code = give(record, &((struct side *)s)->pre_keys[id % 201], 0);
  return code == 1 ? SG_SUCCESS : code;
}
static int store_pre_key(uint32_t id, uint8_t *record, size_t len, void *s) {
  keep(&((struct side *)s)->pre_keys[id % 201], record, len);
  return 0;
}
static int contains_pre_key(uint32_t id, void *s) {
  return ((struct side *)s)->pre_keys[id % 201].data != NULL;
}
static int remove_pre_key(uint32_t id, void *s) {
  (void)id, (void)s; /* kept, so that the next sample may use it again */
  return 0;
}
static int load_signed(signal_buffer **record, uint32_t id, void *s) {
  int code = give(record, &((struct side *)s)->signed_pre_key, 0);
  (void)id;
  return code == 1 ? SG_SUCCESS : code;
}
static int store_signed(uint32_t id, uint8_t *record, size_t len, void *s) {
  (void)id;
  keep(&((struct side *)s)->signed_pre_key, record, len);
  return 0;
}
static int contains_signed(uint32_t id, void *s) {
  (void)id;
  return ((struct side *)s)->signed_pre_key.data != NULL;
}
static int remove_signed(uint32_t id, void *s) {
  (void)id, (void)s;
  return 0;
}

static int get_identity(signal_buffer **public_data, signal_buffer **private_data, void *s) {
  ratchet_identity_key_pair *pair = ((struct side *)s)->identity;
  CHECK(ec_public_key_serialize(public_data, ratchet_identity_key_pair_get_public(pair)));
  CHECK(ec_private_key_serialize(private_data, ratchet_identity_key_pair_get_private(pair)));
  return 0;
}
static int get_registration(void *s, uint32_t *id) {
  *id = ((struct side *)s)->registration;
  return 0;
}
static int save_identity(const signal_protocol_address *a, uint8_t *key, size_t len, void *s) {
  (void)a, (void)key, (void)len, (void)s;
  return 0;
}
static int is_trusted(const signal_protocol_address *a, uint8_t *key, size_t len, void *s) {
  (void)a, (void)key, (void)len, (void)s;
  return 1;
}

static struct side *new_side(uint32_t registration) {
  struct side *side = calloc(1, sizeof *side);
  signal_protocol_session_store sessions = {load_session,   sub_devices, store_session, contains_session,
                                            delete_session, delete_all,  destroy,       side};
  signal_protocol_pre_key_store pre_keys = {load_pre_key,   store_pre_key, contains_pre_key,
                                            remove_pre_key, destroy,       side};
  signal_protocol_signed_pre_key_store signed_keys = {load_signed,   store_signed, contains_signed,
                                                      remove_signed, destroy,      side};
  signal_protocol_identity_key_store identities = {get_identity, get_registration, save_identity,
                                                   is_trusted,   destroy,          side};
  side->registration = registration;
  CHECK(signal_protocol_key_helper_generate_identity_key_pair(&side->identity, context));
  CHECK(signal_protocol_store_context_create(&side->store, context));
  CHECK(signal_protocol_store_context_set_session_store(side->store, &sessions));
  CHECK(signal_protocol_store_context_set_pre_key_store(side->store, &pre_keys));
  CHECK(signal_protocol_store_context_set_signed_pre_key_store(side->store, &signed_keys));
  CHECK(signal_protocol_store_context_set_identity_key_store(side->store, &identities));
  return side;
}

/* A signed pre key and 100 pre keys, stored; what of them goes into a bundle is returned. */
static session_pre_key_bundle *publish(struct side *side) {
  signal_protocol_key_helper_pre_key_list_node *keys = NULL, *node;
  session_signed_pre_key *signed_key = NULL;
  session_pre_key_bundle *bundle = NULL;
  session_pre_key *first;
  signal_buffer *record = NULL;
  CHECK(signal_protocol_key_helper_generate_pre_keys(&keys, 1, 100, context));
  CHECK(signal_protocol_key_helper_generate_signed_pre_key(&signed_key, side->identity, 1, 1, context));
  CHECK(session_signed_pre_key_serialize(&record, signed_key));
  store_signed(1, signal_buffer_data(record), signal_buffer_len(record), side);
  signal_buffer_free(record);
  for (node = keys; node; node = signal_protocol_key_helper_key_list_next(node)) {
    session_pre_key *key = signal_protocol_key_helper_key_list_element(node);
    CHECK(session_pre_key_serialize(&record, key));
    store_pre_key(session_pre_key_get_id(key), signal_buffer_data(record), signal_buffer_len(record), side);
    signal_buffer_free(record);
  }
  first = signal_protocol_key_helper_key_list_element(keys);
  CHECK(session_pre_key_bundle_create(&bundle, side->registration, 1, session_pre_key_get_id(first),
                                      ec_key_pair_get_public(session_pre_key_get_key_pair(first)), 1,
                                      ec_key_pair_get_public(session_signed_pre_key_get_key_pair(signed_key)),
                                      session_signed_pre_key_get_signature_omemo(signed_key),
                                      session_signed_pre_key_get_signature_omemo_len(signed_key),
                                      ratchet_identity_key_pair_get_public(side->identity)));
  signal_protocol_key_helper_key_list_free(keys);
  SIGNAL_UNREF(signed_key);
  return bundle;
}

/* -- what is measured -- */
static struct side *alice, *bob;
static session_pre_key_bundle *bundle;
static const uint8_t key[48] = {7};
static signal_buffer *message;
static int message_type;
static int devices = 1;

static signal_protocol_address address(int device) {
  signal_protocol_address made = {"juliet@capulet.lit", 18, device};
  return made;
}

static void encrypt_by(struct side *side, int device) {
  signal_protocol_address to = address(device);
  session_cipher *made = NULL;
  ciphertext_message *text = NULL;
  CHECK(session_cipher_create(&made, side->store, &to, context));
  session_cipher_set_version(made, CIPHERTEXT_OMEMO_VERSION);
  CHECK(session_cipher_encrypt(made, key, sizeof key, &text));
  signal_buffer_free(message);
  message = signal_buffer_copy(ciphertext_message_get_serialized(text));
  message_type = ciphertext_message_get_type(text);
  SIGNAL_UNREF(text);
  session_cipher_free(made);
}

static void decrypt_by(struct side *side, int device) {
  signal_protocol_address from = address(device);
  session_cipher *made = NULL;
  signal_buffer *plain = NULL;
  const uint8_t *data = signal_buffer_data(message);
  size_t len = signal_buffer_len(message);
  CHECK(session_cipher_create(&made, side->store, &from, context));
  session_cipher_set_version(made, CIPHERTEXT_OMEMO_VERSION);
  if (message_type == CIPHERTEXT_PREKEY_TYPE) {
    pre_key_signal_message *parsed = NULL;
    CHECK(pre_key_signal_message_deserialize_omemo(&parsed, data, len, 1, context));
    CHECK(session_cipher_decrypt_pre_key_signal_message(made, parsed, NULL, &plain));
    SIGNAL_UNREF(parsed);
  } else {
    signal_message *parsed = NULL;
    CHECK(signal_message_deserialize_omemo(&parsed, data, len, context));
    CHECK(session_cipher_decrypt_signal_message(made, parsed, NULL, &plain));
    SIGNAL_UNREF(parsed);
  }
  signal_buffer_free(plain);
  session_cipher_free(made);
}

static void build(int device) {
  signal_protocol_address to = address(device);
  session_builder *made = NULL;
  CHECK(session_builder_create(&made, alice->store, &to, context));
  session_builder_set_version(made, CIPHERTEXT_OMEMO_VERSION);
  CHECK(session_builder_process_pre_key_bundle(made, bundle));
  session_builder_free(made);
}

static void nothing(void) {}
static void forget(void) {
  keep(&alice->sessions[1], NULL, 0);
  keep(&bob->sessions[1], NULL, 0);
}
static void active(void) {
  build(1);
  encrypt_by(alice, 1);
}
static void forget_and_begin(void) {
  forget();
  active();
}
static void passive(void) {
  decrypt_by(bob, 1);
}
static void connect(void) {
  forget_and_begin();
  passive();
  encrypt_by(bob, 1);
  decrypt_by(alice, 1);
}
static void encrypt(void) {
  encrypt_by(alice, 1);
}
static void ping_pong(void) {
  encrypt_by(alice, 1);
  decrypt_by(bob, 1);
  encrypt_by(bob, 1);
  decrypt_by(alice, 1);
}
static void skipping(void) {
  connect();
  for (int i = 0; i < 1001; i++) encrypt();
}
static void make_bundle(void) {
  session_pre_key_bundle *made = publish(alice);
  SIGNAL_UNREF(made);
}
static void to_devices(void) {
  for (int device = 1; device <= devices; device++) encrypt_by(alice, device);
}

static void measure(const char *op, size_t most, void (*setup)(void), void (*action)(void)) {
  static double samples[MAX_SAMPLES];
  double spent = 0;
  size_t count = 0;
  while (count < 3 || (spent < budget && count < most)) {
    double start;
    setup();
    start = seconds();
    action();
    samples[count] = seconds() - start;
    spent += samples[count++];
  }
  qsort(samples, count, sizeof *samples, compare);
  printf("{\"op\": \"%s\", \"us\": %.3f}\n", op, samples[count / 2] * 1e6);
  fflush(stdout);
}

int main(int argc, char **argv) {
  const signal_crypto_provider provider = {
      .random_func = random_func,
      .hmac_sha256_init_func = hmac_init,
      .hmac_sha256_update_func = hmac_update,
      .hmac_sha256_final_func = hmac_final,
      .hmac_sha256_cleanup_func = hmac_cleanup,
      .sha512_digest_init_func = sha512_init,
      .sha512_digest_update_func = sha512_update,
      .sha512_digest_final_func = sha512_final,
      .sha512_digest_cleanup_func = sha512_cleanup,
      .encrypt_func = encrypt_func,
      .decrypt_func = decrypt_func,
  };
  const int counts[] = {1, 10, 100, 1000};
  int built = 1;
  if (argc > 1) budget = atof(argv[1]);
  CHECK(signal_context_create(&context, NULL));
  CHECK(signal_context_set_crypto_provider(context, &provider));
  CHECK(signal_context_set_locking_functions(context, lock, lock));
  alice = new_side(1);
  bob = new_side(2);
  bundle = publish(bob);

  measure("x3dh_active", MAX_SAMPLES, forget, active);
  measure("x3dh_passive", MAX_SAMPLES, forget_and_begin, passive);
  connect();
  measure("encrypt_key", MAX_SAMPLES, nothing, encrypt);
  connect();
  measure("decrypt_key", MAX_SAMPLES, encrypt, passive);
  measure("ping_pong", MAX_SAMPLES, nothing, ping_pong);
  measure("skip_1000", 20, skipping, passive);
  measure("bundle_100", 100, nothing, make_bundle);
  connect();
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    char op[32];
    devices = counts[i];
    for (; built < devices; built++) build(built + 1);
    snprintf(op, sizeof op, "message_%d", devices);
    measure(op, 200, nothing, to_devices);
  }
  return 0;
}
