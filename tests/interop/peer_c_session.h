/* One session with one device: keys and bytes, no XML. For tests only: linked with GPL libraries, never installed.
 *
 * Functions that return int return 0 or a negative code SG_ERR_... of the library.
 */
#ifndef PEER_C_SESSION_H
#define PEER_C_SESSION_H

#include "peer_c_account.h"

/* The device at the other end, in a namespace. */
struct address {
  enum version version;
  const char *jid;
  uint32_t device;
};

/* A published bundle with one of its pre keys, as in the namespace's XML. */
struct bundle {
  struct text identity, signed_pre_key, signature, pre_key;
  uint32_t signed_pre_key_id, pre_key_id;
};

int session_exists(const struct account *account, struct address to);
/* Forgets the session, if there is one. */
int session_end(struct account *account, struct address to);
int session_begin(struct account *account, struct address to, const struct bundle *bundle);
int session_encrypt(struct account *account, struct address to, struct text plaintext, struct text *out, int *exchange);
int session_decrypt(struct account *account, struct address from, struct text data, int exchange, struct text *out);
/* The other device's identity key: 32 bytes, Ed25519 in omemo:2, Curve25519 in legacy. */
int session_identity(struct account *account, struct address from, struct text *key);

#endif
