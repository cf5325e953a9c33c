/* See peer_c_crypto.h. For tests only: linked with GPL libraries, never installed. */
#include "peer_c_crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- random bytes: AES-256 in counter mode, its key being a hash of the seed -- */

static EVP_CIPHER_CTX *seeded;

static void stop(const char *what) {
  fprintf(stderr, "peer: %s\n", what);
  exit(1);
}

void crypto_seed(const void *seed, size_t len) {
  static const uint8_t iv[16];
  uint8_t key[32];
  if (!seeded) seeded = EVP_CIPHER_CTX_new();
  if (!seeded || EVP_Digest(seed, len, key, NULL, EVP_sha256(), NULL) != 1 ||
      EVP_EncryptInit_ex(seeded, EVP_aes_256_ctr(), NULL, key, iv) != 1)
    stop("the seed cannot be used");
}

static int random_func(uint8_t *data, size_t len, void *user_data) {
  int got = 0;
  (void)user_data;
  if (!seeded) return RAND_bytes(data, (int)len) == 1 ? 0 : SG_ERR_UNKNOWN;
  memset(data, 0, len);
  return EVP_EncryptUpdate(seeded, data, &got, data, (int)len) == 1 && (size_t)got == len ? 0 : SG_ERR_UNKNOWN;
}

struct text crypto_random(size_t len) {
  const struct text bytes = text_sized(len);
  if (random_func(bytes.data, len, NULL) < 0) stop("no random bytes");
  return bytes;
}

uint32_t crypto_below(uint32_t bound) {
  const uint32_t limit = UINT32_MAX - UINT32_MAX % bound;
  uint32_t drawn;
  do memcpy(&drawn, crypto_random(sizeof drawn).data, sizeof drawn);
  while (drawn >= limit);
  return drawn % bound;
}

/* -- what the libraries ask for -- */

static int hmac_init(void **hmac, const uint8_t *key, size_t len, void *user_data) {
  EVP_MAC *kind = EVP_MAC_fetch(NULL, "HMAC", NULL);
  EVP_MAC_CTX *made = EVP_MAC_CTX_new(kind);
  char digest[] = "SHA256";
  const OSSL_PARAM with[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                             OSSL_PARAM_construct_end()};
  (void)user_data;
  EVP_MAC_free(kind);
  *hmac = made;
  return made && EVP_MAC_init(made, key, len, with) == 1 ? 0 : SG_ERR_UNKNOWN;
}

static int hmac_update(void *hmac, const uint8_t *data, size_t len, void *user_data) {
  (void)user_data;
  return EVP_MAC_update(hmac, data, len) == 1 ? 0 : SG_ERR_UNKNOWN;
}

static int hmac_final(void *hmac, signal_buffer **output, void *user_data) {
  uint8_t bytes[EVP_MAX_MD_SIZE];
  size_t len = 0;
  (void)user_data;
  if (EVP_MAC_final(hmac, bytes, &len, sizeof bytes) != 1) return SG_ERR_UNKNOWN;
  *output = signal_buffer_create(bytes, len);
  return *output ? 0 : SG_ERR_NOMEM;
}

static void hmac_cleanup(void *hmac, void *user_data) {
  (void)user_data;
  EVP_MAC_CTX_free(hmac);
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

/* The digest may go on being used for other data after this. */
static int sha512_final(void *digest, signal_buffer **output, void *user_data) {
  uint8_t bytes[EVP_MAX_MD_SIZE];
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

/* AES-256-CBC with padding, in either direction. */
static int cbc(struct text *out, const uint8_t *key, const uint8_t *iv, const uint8_t *data, size_t len, int encrypt) {
  EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
  int first = 0, last = 0, good;
  *out = text_sized(len + 32);
  good = cipher && EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key, iv, encrypt) == 1 &&
         EVP_CipherUpdate(cipher, out->data, &first, data, (int)len) == 1 &&
         EVP_CipherFinal_ex(cipher, out->data + first, &last) == 1;
  out->len = good ? (size_t)first + (size_t)last : 0;
  out->data[out->len] = 0;
  EVP_CIPHER_CTX_free(cipher);
  return good ? 0 : SG_ERR_UNKNOWN;
}

static int provide(signal_buffer **output, int type, const uint8_t *key, size_t key_len, const uint8_t *iv,
                   size_t iv_len, const uint8_t *data, size_t len, int encrypt) {
  struct text text;
  if (type != SG_CIPHER_AES_CBC_PKCS5 || key_len != 32 || iv_len != 16) return SG_ERR_UNKNOWN;
  if (cbc(&text, key, iv, data, len, encrypt) < 0) return SG_ERR_UNKNOWN;
  *output = signal_buffer_create(text.data, text.len);
  return *output ? 0 : SG_ERR_NOMEM;
}

static int encrypt_func(signal_buffer **output, int type, const uint8_t *key, size_t key_len, const uint8_t *iv,
                        size_t iv_len, const uint8_t *data, size_t len, void *user_data) {
  (void)user_data;
  return provide(output, type, key, key_len, iv, iv_len, data, len, 1);
}

static int decrypt_func(signal_buffer **output, int type, const uint8_t *key, size_t key_len, const uint8_t *iv,
                        size_t iv_len, const uint8_t *data, size_t len, void *user_data) {
  (void)user_data;
  return provide(output, type, key, key_len, iv, iv_len, data, len, 0);
}

const signal_crypto_provider crypto_provider = {
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

/* -- payloads -- */

int crypto_gcm_encrypt(struct text *ciphertext, uint8_t tag[16], struct text key, struct text iv,
                       struct text plaintext) {
  EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
  int first = 0, last = 0, good;
  *ciphertext = text_sized(plaintext.len);
  good = cipher && key.len == 16 && EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, NULL, NULL) == 1 &&
         EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_IVLEN, (int)iv.len, NULL) == 1 &&
         EVP_EncryptInit_ex(cipher, NULL, NULL, key.data, iv.data) == 1 &&
         EVP_EncryptUpdate(cipher, ciphertext->data, &first, plaintext.data, (int)plaintext.len) == 1 &&
         EVP_EncryptFinal_ex(cipher, ciphertext->data + first, &last) == 1 &&
         EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, 16, tag) == 1;
  EVP_CIPHER_CTX_free(cipher);
  return good ? 0 : SG_ERR_UNKNOWN;
}

int crypto_gcm_decrypt(struct text *plaintext, struct text key, struct text iv, struct text ciphertext,
                       struct text tag) {
  EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
  int first = 0, last = 0, good;
  *plaintext = text_sized(ciphertext.len);
  good = cipher && key.len == 16 && tag.len == 16 && (iv.len == 12 || iv.len == 16) &&
         EVP_DecryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, NULL, NULL) == 1 &&
         EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_IVLEN, (int)iv.len, NULL) == 1 &&
         EVP_DecryptInit_ex(cipher, NULL, NULL, key.data, iv.data) == 1 &&
         EVP_DecryptUpdate(cipher, plaintext->data, &first, ciphertext.data, (int)ciphertext.len) == 1 &&
         EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, 16, tag.data) == 1 &&
         EVP_DecryptFinal_ex(cipher, plaintext->data + first, &last) == 1;
  EVP_CIPHER_CTX_free(cipher);
  return good ? 0 : SG_ERR_INVALID_MAC;
}

/* Encryption key, authentication key and IV of an omemo:2 payload. */
struct payload_keys {
  uint8_t encryption[32], authentication[32], iv[16];
};

static int derive(struct payload_keys *keys, struct text key) {
  static uint8_t salt[32];
  char digest[] = "SHA256", info[] = "OMEMO Payload";
  const OSSL_PARAM with[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                             OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key.data, key.len),
                             OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, sizeof salt),
                             OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof info - 1),
                             OSSL_PARAM_construct_end()};
  uint8_t bytes[80];
  EVP_KDF *kind = EVP_KDF_fetch(NULL, "HKDF", NULL);
  EVP_KDF_CTX *kdf = EVP_KDF_CTX_new(kind);
  const int good = key.len == 32 && kdf && EVP_KDF_derive(kdf, bytes, sizeof bytes, with) == 1;
  EVP_KDF_CTX_free(kdf);
  EVP_KDF_free(kind);
  if (!good) return SG_ERR_UNKNOWN;
  memcpy(keys->encryption, bytes, 32);
  memcpy(keys->authentication, bytes + 32, 32);
  memcpy(keys->iv, bytes + 64, 16);
  return 0;
}

static int mac_of(uint8_t tag[16], const struct payload_keys *keys, struct text ciphertext) {
  uint8_t whole[32];
  size_t len = 0;
  if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, keys->authentication, sizeof keys->authentication, ciphertext.data,
                 ciphertext.len, whole, sizeof whole, &len))
    return SG_ERR_UNKNOWN;
  memcpy(tag, whole, 16);
  return 0;
}

int crypto_payload_encrypt(struct text *ciphertext, uint8_t tag[16], struct text key, struct text plaintext) {
  struct payload_keys keys;
  if (derive(&keys, key) < 0 || cbc(ciphertext, keys.encryption, keys.iv, plaintext.data, plaintext.len, 1) < 0)
    return SG_ERR_UNKNOWN;
  return mac_of(tag, &keys, *ciphertext);
}

int crypto_payload_decrypt(struct text *plaintext, struct text key, struct text ciphertext, struct text tag) {
  struct payload_keys keys;
  uint8_t right[16];
  if (derive(&keys, key) < 0 || mac_of(right, &keys, ciphertext) < 0) return SG_ERR_UNKNOWN;
  if (tag.len != sizeof right || CRYPTO_memcmp(right, tag.data, sizeof right) != 0) return SG_ERR_INVALID_MAC;
  return cbc(plaintext, keys.encryption, keys.iv, ciphertext.data, ciphertext.len, 0);
}
