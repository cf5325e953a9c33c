/* The cryptography of a peer, by OpenSSL. For tests only: linked with GPL libraries, never installed.
 *
 * The functions that libomemo-c and libsignal-protocol-c ask of their user, random bytes that a seed makes
 * repeatable, and the encryption of payloads in both namespaces. Functions that return int return 0 or a negative
 * code SG_ERR_...
 */
#ifndef PEER_C_CRYPTO_H
#define PEER_C_CRYPTO_H

#include "peer_c_text.h"

#include <signal_protocol.h>

extern const signal_crypto_provider crypto_provider;

/* All draws follow from these bytes from now on. Before the first call the operating system is asked. */
void crypto_seed(const void *seed, size_t len);
struct text crypto_random(size_t len);
/* Uniform below `bound`, which is not 0. */
uint32_t crypto_below(uint32_t bound);

/* Legacy: AES-128-GCM. The tag is 16 bytes. */
int crypto_gcm_encrypt(struct text *ciphertext, uint8_t tag[16], struct text key, struct text iv,
                       struct text plaintext);
int crypto_gcm_decrypt(struct text *plaintext, struct text key, struct text iv, struct text ciphertext,
                       struct text tag);

/* omemo:2: AES-256-CBC and HMAC-SHA-256 with keys from HKDF "OMEMO Payload". The key is 32 bytes, the tag 16. */
int crypto_payload_encrypt(struct text *ciphertext, uint8_t tag[16], struct text key, struct text plaintext);
int crypto_payload_decrypt(struct text *plaintext, struct text key, struct text ciphertext, struct text tag);

#endif
